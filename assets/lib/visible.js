/** Characters that cannot be seen, made visible: controls, those that turn the direction of writing, and blanks where they stand alone or at an end (pure). */

const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\u2800\u3164\ufeff\uffa0\u{e0000}-\u{e0fff}]/gu;
const OUTER = /^\s+|\s+$|[\t\n]+/g;

/** @param {string} text */
const spelled = (text) => [...text].map((char) => `[U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`).join("");

/** `"a\u202etxt.exe" -> "a[U+202E]txt.exe"` @param {string} text */
export const visible = (text) => String(text).replace(UNSEEN, spelled);

/** Of a name: its tabs, line breaks and blanks at its ends, too, which make it look like another one. `"loss " -> "loss[U+0020]"` @param {string} name */
export const visibleName = (name) => visible(String(name).replace(OUTER, spelled));
