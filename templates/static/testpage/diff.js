/**
 * @typedef {{change: "same" | "added" | "removed", line: string}} DiffLine
 */

/**
 * Compare two texts line by line, by their longest common subsequence. A session description has a few hundred lines,
 * so a quadratic table is small enough.
 *
 * @param {string} before
 * @param {string} after
 * @returns {DiffLine[]}
 */
export function diffLines(before, after) {
  const a = linesOf(before);
  const b = linesOf(after);
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] =
        a[i] === b[j]
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  /** @type {DiffLine[]} */
  const result = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      result.push({ change: "same", line: a[i] });
      i += 1;
      j += 1;
    } else if (j === b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      result.push({ change: "removed", line: a[i] });
      i += 1;
    } else {
      result.push({ change: "added", line: b[j] });
      j += 1;
    }
  }
  return result;
}

/** @param {string} text */
function linesOf(text) {
  return text.trimEnd().split(/\r?\n/);
}
