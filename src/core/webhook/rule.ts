import type { Pattern } from '../pattern.ts'
import { compilePattern } from '../pattern.ts'
import type { Condition, Rule, Selector } from '../trigger.ts'
import type { HookContent } from './request.ts'
import { findSelected } from './selector.ts'

/** How many steps matching may take for one delivery, at some 40 ns: characters times the size of the regular expression, which is some 30 for a common one. */
const MAX_STEPS = 8 * 1024 * 1024
/** What it takes to begin, in characters. */
const START = 8

/**
 * Whether a delivery is as `rule` wants it. A header or a path that leads nowhere has no value: of all conditions only `exists: false` holds for it.
 *
 * If it would take too much to say (a path to more than 10,000 values, long texts to be matched against a large regular expression), it does not, whatever the rule: a
 * `not` lets nothing in by being given too much.
 */
export function matchesRule(rule: Rule, content: HookContent): boolean {
  const effort: Effort = { steps: 0, isTooMuch: false }
  return holds(rule, content, effort) && !effort.isTooMuch
}

interface Effort {
  steps: number
  isTooMuch: boolean
}

function holds(rule: Rule, content: HookContent, effort: Effort): boolean {
  if ('all' in rule) return rule.all.every((each) => holds(each, content, effort))
  if ('any' in rule) return rule.any.some((each) => holds(each, content, effort))
  if ('not' in rule) return !holds(rule.not, content, effort)
  const values = findSelected(rule, content)
  if (!values) {
    effort.isTooMuch = true
    return false
  }
  if ('exists' in rule) return values.length > 0 === rule.exists
  if ('match' in rule) return values.some((value) => matches(rule, value, effort))
  const choices = 'in' in rule ? rule.in : [rule.eq]
  return values.some((value) => choices.some((choice) => isEqual(value, choice, rule)))
}

type Choice = Extract<Condition, { eq: unknown }>['eq']

/** A header is a text, whatever is meant by it. */
function isEqual(value: unknown, choice: Choice, selector: Selector): boolean {
  return value === ('header' in selector && choice !== null ? String(choice) : choice)
}

type Match = Extract<Condition, { match: string }>

function matches(condition: Match, value: unknown, effort: Effort): boolean {
  if (effort.isTooMuch || typeof value !== 'string') return false
  const pattern = compiled(condition)
  effort.steps += (value.length + START) * (pattern?.size ?? Infinity)
  effort.isTooMuch = effort.steps > MAX_STEPS
  return !effort.isTooMuch && pattern!.matches(value)
}

const patterns = new WeakMap<Match, Pattern>()

/** Once a condition: compiling takes longer than most matches. */
function compiled(condition: Match): Pattern | undefined {
  const known = patterns.get(condition) ?? compilePattern(condition.match)
  if (known) patterns.set(condition, known)
  return known
}
