import type { WebhookScheme } from '../trigger.ts'

/**
 * How long a provider waits for an answer, in milliseconds; where none says it, what most wait for. GitHub's is in
 * https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks, GitLab's in https://docs.gitlab.com/user/gitlab_com/, Slack's in
 * https://docs.slack.dev/apis/events-api, Gitea's is the default of `[webhook] DELIVER_TIMEOUT`, that of Standard Webhooks what its text recommends at least,
 * and that of `hmac` Shopify's, which is the shortest of those that sign so. Stripe names none.
 */
export function toAnswerLimitMs({ provider }: Pick<WebhookScheme, 'provider'>): number {
  switch (provider) {
    case 'slack':
      return 3_000
    case 'gitea':
    case 'hmac':
      return 5_000
    case 'standard':
      return 15_000
    case 'github':
    case 'gitlab':
    case 'stripe':
    case 'cloudevents':
    case 'alertmanager':
    case 'token':
    case 'none':
      return 10_000
  }
}
