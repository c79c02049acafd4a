# Counts the a[href] of an HTML page. Internal links lead to the host of the page, whose URL is ENVIRON["base"];
# external ones to another, by http or https. Other schemes, and links within the page, are not counted.

BEGIN {
  RS = "<"
  page = host(ENVIRON["base"])
  # Where relative links lead: elsewhere, if a <base> says so.
  relative = page
}

# Each record is what follows a "<": a tag, and the text behind it.
NR == 1 { next }

in_comment { in_comment = !/--!?>/; next }
raw { if (/^\// && tolower($0) ~ "^/" raw "([ \t\r\n\f/>]|$)") raw = ""; next }
tag == "" && /^!--/ { in_comment = !/^!--(-?>|.*--!?>)/; next }
tag == "" && !/^[A-Za-z]/ { next }

{
  # A "<" within a quoted value does not end the tag.
  tag = tag == "" ? $0 : tag "<" $0
  if (!parse(tag)) next
  tag = ""
  if (name ~ /^(script|style|textarea|title|xmp|iframe|noembed|noframes)$/) raw = name
  if (name == "a" && has_href) count(href)
  if (name == "base" && has_href && !base_seen++) relative = target(href)
}

END { printf "{\"internal\":%d,\"external\":%d}\n", internal, external }

# Reads a tag's name and its first href. False: the tag goes on behind the next "<".
function parse(text,    attribute, value, quote, end) {
  match(text, /^[^ \t\r\n\f\/>]+/)
  name = tolower(substr(text, 1, RLENGTH))
  text = substr(text, RLENGTH + 1)
  has_href = 0
  for (;;) {
    sub(/^[ \t\r\n\f\/]+/, "", text)
    if (text == "") return 0
    if (text ~ /^>/) return 1

    match(text, /^=?[^ \t\r\n\f\/>=]*/)
    attribute = tolower(substr(text, 1, RLENGTH))
    text = substr(text, RLENGTH + 1)
    value = ""
    if (match(text, /^[ \t\r\n\f]*=[ \t\r\n\f]*/)) {
      text = substr(text, RLENGTH + 1)
      quote = substr(text, 1, 1)
      if (quote == "\"" || quote == "'") {
        text = substr(text, 2)
        end = index(text, quote)
        if (end == 0) return 0
        value = substr(text, 1, end - 1)
        text = substr(text, end + 1)
      } else {
        match(text, /^[^ \t\r\n\f>]*/)
        value = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
      }
    }
    if (attribute == "href" && !has_href++) href = value
  }
}

function count(url,    to) {
  to = target(url)
  if (to == "") return
  if (to == page) internal++
  else external++
}

# The host that a link leads to; none if it is not to be counted.
function target(url) {
  url = decoded(url)
  gsub(/[\t\r\n]/, "", url)
  gsub(/^[ \f]+|[ \f]+$/, "", url)
  if (url == "" || url ~ /^#/) return ""
  if (tolower(url) ~ /^https?:/ || url ~ /^[\/\\][\/\\]/) return host(url)
  if (url ~ /^[A-Za-z][A-Za-z0-9+.-]*:/) return ""
  return relative
}

function host(url) {
  sub(/^([A-Za-z]+:)?[\/\\]*/, "", url)
  sub(/[\/\\?#].*/, "", url)
  sub(/.*@/, "", url)
  sub(/:[0-9]*$/, "", url)
  return tolower(url)
}

# Resolves numeric character references: they are how pages hide mailto: links from robots.
function decoded(text,    out, code) {
  while (match(text, /&#([0-9]+|[xX][0-9A-Fa-f]+);?/)) {
    code = substr(text, RSTART + 2, RLENGTH - 2)
    sub(/;/, "", code)
    out = out substr(text, 1, RSTART - 1) sprintf("%c", number(tolower(code)))
    text = substr(text, RSTART + RLENGTH)
  }
  return out text
}

function number(code,    base, value, i) {
  base = sub(/^x/, "", code) ? 16 : 10
  for (i = 1; i <= length(code); i++) value = value * base + index("0123456789abcdef", substr(code, i, 1)) - 1
  return value
}
