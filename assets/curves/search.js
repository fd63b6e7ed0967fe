/** Searching tags by words, glob or regular expression (pure). */

const NESTED = /[+*}]\??[^()]*\)+\s*[+*{]/; // (a+)+, (a*b){9}
const MAX_PATTERN_CHARS = 1000; // characters of a pattern

/**
 * `finder("train loss", "text").has("train/loss") -> true`. Case never matters; a pattern that cannot be read finds nothing and says why.
 * @param {string} text @param {"text" | "glob" | "regex"} match
 * @returns {{has: (name: string) => boolean, trouble: string}}
 */
export function finder(text, match) {
  const wanted = text.trim().slice(0, MAX_PATTERN_CHARS);
  if (!wanted) return { has: () => true, trouble: "" };
  if (match === "text") return words(wanted);
  if (match === "glob") return expression(`^${glob(wanted)}$`);
  return expression(wanted);
}

/** All words, in any order. @param {string} text */
function words(text) {
  const all = text.toLowerCase().split(/\s+/);
  return { has: (/** @type {string} */ name) => all.every((word) => name.toLowerCase().includes(word)), trouble: "" };
}

/** `*` stands for any text, `?` for a character; brackets are just brackets, as on the server. @param {string} pattern */
const glob = (pattern) =>
  pattern
    .replace(/\*+/g, "*")
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");

/** @param {string} pattern */
function expression(pattern) {
  if (NESTED.test(pattern)) return { has: () => false, trouble: "A repetition inside a repetition may take for ever: write the expression with one of them." };
  try {
    const found = new RegExp(pattern, "i");
    return { has: (/** @type {string} */ name) => found.test(name), trouble: "" };
  } catch {
    return { has: () => false, trouble: "This is not a regular expression: a bracket or a backslash is left open, or * and + stand behind nothing." };
  }
}
