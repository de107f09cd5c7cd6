/* Web addresses in texts of other people. */

// Spaces, quotes, brackets of markup, controls, and characters that are invisible or change the direction of the text.
const ADDRESS = /https?:\/\/[^\s<>"`\\\p{Cc}\p{Cf}\p{Co}\p{Cs}]+/giu;
const LONGEST = 2_000;
const CLOSING = new Map(Object.entries({ ")": "(", "]": "[", "}": "{" }));
const TRAILING = new Set(".,;:!?'*_~…’”»、。，！？：；");

/**
 * Split a text into plain parts and links, in order. All parts together give the text.
 *
 * Only complete http and https addresses become links. An address with a username or password does not, because such
 * an address can hide where it leads: `https://bank.example@attacker.example`.
 *
 * @param {string} text
 * @returns {{text: string, href?: string}[]}
 */
export function linkParts(text) {
  const parts = /** @type {{text: string, href?: string}[]} */ ([]);
  let plainFrom = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    const address = withoutTrailing(found);
    const href = safeHref(address);
    if (href === null) continue;
    if (index > plainFrom) parts.push({ text: text.slice(plainFrom, index) });
    parts.push({ text: address, href });
    plainFrom = index + address.length;
  }
  if (plainFrom < text.length) parts.push({ text: text.slice(plainFrom) });
  return parts;
}

/** Return the address without the punctuation of the sentence around it. @param {string} address */
function withoutTrailing(address) {
  const counts = new Map();
  for (const character of address) counts.set(character, (counts.get(character) ?? 0) + 1);
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    const opening = CLOSING.get(last);
    const isUnmatched = opening !== undefined && counts.get(last) > (counts.get(opening) ?? 0);
    if (!isUnmatched && !TRAILING.has(last)) break;
    counts.set(last, counts.get(last) - 1);
  }
  return address.slice(0, end);
}

/** @param {string} address @returns {string | null} null if it must not be a link */
function safeHref(address) {
  if (address.length > LONGEST || !URL.canParse(address)) return null;
  const { protocol, username, password, hostname, href } = new URL(address);
  const isWeb = protocol === "http:" || protocol === "https:";
  return isWeb && hostname !== "" && username === "" && password === "" ? href : null;
}
