import assert from "node:assert/strict";
import { test } from "node:test";

import { linkParts } from "../../templates/static/testpage/links.js";

/** @param {string} text */
const hrefs = (text) => linkParts(text).flatMap(({ href }) => href ?? []);

/** @param {string} text */
const links = (text) => linkParts(text).flatMap(({ text: shown, href }) => (href === undefined ? [] : [shown]));

test("web addresses become links, and all parts together give the text", () => {
  const text = "See https://example.org/a?b=1#c and HTTP://example.net for it";
  assert.deepEqual(linkParts(text), [
    { text: "See " },
    { text: "https://example.org/a?b=1#c", href: "https://example.org/a?b=1#c" },
    { text: " and " },
    { text: "HTTP://example.net", href: "http://example.net/" },
    { text: " for it" },
  ]);
  assert.deepEqual(linkParts("no link at all"), [{ text: "no link at all" }]);
  assert.deepEqual(linkParts(""), []);
});

for (const text of [
  "javascript:alert(1)",
  "JaVaScRiPt://example.org/%0aalert(1)",
  "data:text/html,<script>alert(1)</script>",
  "vbscript:x",
  "file:///etc/passwd",
  "blob:https://",
  "//example.org",
  "www.example.org",
  "mailto:bob@example.org",
  "http://",
  "https://javascript:alert(1)",
  "https://bank.example@attacker.example/",
  "https://bank.example:secret@attacker.example/",
  "https://@attacker.example:x@y/",
  "https://[::1",
  "https://exa mple",
  `https://example.org/${"a".repeat(3_000)}`,
]) {
  test(`${text.slice(0, 60)} leads nowhere that it does not say`, () => {
    for (const href of hrefs(text)) assert.match(href, /^https?:\/\/exa\//);
    assert.equal(
      linkParts(text)
        .map((part) => part.text)
        .join(""),
      text,
    );
  });
}

for (const [text, shown] of [
  ["Look at https://example.org.", "https://example.org"],
  ["(see https://example.org/a)", "https://example.org/a"],
  ["https://example.org/wiki/Call_(telephony), for example", "https://example.org/wiki/Call_(telephony)"],
  ["[https://example.org/x]?!", "https://example.org/x"],
  ["<https://example.org/x>", "https://example.org/x"],
  ['"https://example.org/x"', "https://example.org/x"],
  ["https://example.org/@bob…", "https://example.org/@bob"],
  ["https://example.org\\@attacker.example", "https://example.org"],
  // What follows a character that turns or hides the text is no part of the address.
  ["https://example.org/\u202Egnp.exe", "https://example.org/"],
  ["https://example.org\u200B.attacker.example", "https://example.org"],
  ["\u2067https://example.org/a\u2069", "https://example.org/a"],
  ["שלום https://example.org/שלום", "https://example.org/שלום"],
]) {
  test(`the address in ${JSON.stringify(text)} ends where the address ends`, () => {
    assert.deepEqual(links(text), [shown]);
  });
}

test("a long hostile text takes no longer than its length", () => {
  const texts = ["https://", "https://a)", "https://a.", "(", "http://a@"].map((piece) =>
    piece.repeat(10_000 / piece.length),
  );
  texts.push(`https://a/${")".repeat(10_000)}`, `https://a/${".".repeat(10_000)}`, `https://${"[".repeat(10_000)}`);
  for (const text of texts) {
    const before = performance.now();
    const parts = linkParts(text);
    assert.ok(performance.now() - before < 1_000);
    assert.equal(parts.map((part) => part.text).join(""), text);
  }
});
