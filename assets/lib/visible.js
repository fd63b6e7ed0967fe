/** Invisible characters that change how others are read: controls, and those that turn the direction of writing (pure). */

const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2064\u2066-\u2069\ufeff]/g;

/** `"a\u202etxt.exe" -> "a[U+202E]txt.exe"` @param {string} text */
export const visible = (text) => {
  return String(text).replace(UNSEEN, (char) => `[U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
};
