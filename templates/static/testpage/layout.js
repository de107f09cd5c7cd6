/* The layout of the tiles: even rows, or one tile in front and the others in a strip. */

const GAP = 8;
const WIDEST = 16 / 9;
// Crops of a camera's picture that still show a face: narrow ones fill a phone, but look lost beside a wide screen.
const NARROWEST_ON_TALL = 9 / 16;
const NARROWEST_ON_WIDE = 1;
// In pixels: the widths of a tile in the strip beside the front tile, and its least height before the strip scrolls.
const STRIP = { narrowest: 132, share: 0.19, widest: 220, lowest: 96 };
// The least width of a tile in the strip below the front tile before the strip scrolls, in pixels.
const NARROWEST_BELOW = 76;

/**
 * Set the columns and rows of a CSS grid, and the place of each tile.
 *
 * @param {HTMLElement} grid
 * @param {HTMLElement[]} tiles
 * @param {number} front index of the tile in front, or -1
 */
export function arrange(grid, tiles, front) {
  grid.dataset.layout = tiles.length < 2 ? "one" : "even";
  grid.style.gridTemplate = "";
  for (const tile of tiles) tile.style.gridArea = "";
  const { clientWidth: width, clientHeight: height } = grid;
  if (width === 0 || tiles.length < 2) return;
  if (front === -1) return inRows(grid, tiles, width, height);
  const narrow = width < 620 || width < height;
  grid.dataset.layout = narrow ? "strip-below" : "strip-beside";
  const rest = tiles.filter((_, index) => index !== front);
  const below = `min(var(--strip) * 4 / 3, max(${NARROWEST_BELOW}px, 100% / ${rest.length} - ${GAP}px))`;
  const beside = besideStrip(rest.length, width, height);
  // The strip has one grid track per tile, and one more, flexible grid track for the rest of the space. The front tile
  // also spans the flexible one, so that the front tile does not stretch the others.
  grid.style.gridTemplate = narrow
    ? `minmax(0, 1fr) var(--strip) / repeat(${rest.length}, ${below}) 1fr`
    : `repeat(${rest.length}, ${beside.tileHeight}px) 1fr / minmax(0, 1fr) ${beside.tileWidth}px`;
  tiles[front].style.gridArea = narrow ? `1 / 1 / 2 / ${rest.length + 2}` : `1 / 1 / ${rest.length + 2} / 2`;
  rest.forEach((tile, index) => {
    tile.style.gridArea = narrow ? `2 / ${index + 1}` : `${index + 1} / 2`;
  });
}

/**
 * Return the size of the tiles in a strip beside the front tile: 4:3, or lower where more of them are to be seen.
 *
 * @param {number} count of the tiles in the strip
 * @param {number} width @param {number} height of the whole grid
 */
export function besideStrip(count, width, height) {
  const tileWidth = Math.round(Math.min(STRIP.widest, Math.max(STRIP.narrowest, width * STRIP.share)));
  const share = height / count - GAP;
  const tileHeight = Math.floor(Math.min((tileWidth * 3) / 4, Math.max(STRIP.lowest, share)));
  return { tileWidth, tileHeight };
}

/**
 * @param {HTMLElement} grid
 * @param {HTMLElement[]} tiles
 * @param {number} width @param {number} height
 */
function inRows(grid, tiles, width, height) {
  const { columns, tileWidth, tileHeight } = bestFit(tiles.length, width, height);
  // Each tile spans two columns, so that the last row can be centred.
  const half = (tileWidth - GAP) / 2;
  const rows = Math.ceil(tiles.length / columns);
  grid.style.gridTemplate = `repeat(${rows}, ${tileHeight}px) / repeat(${columns * 2}, ${half}px)`;
  const missing = columns * rows - tiles.length;
  tiles.forEach((tile, index) => {
    const row = Math.floor(index / columns);
    const shift = row === rows - 1 ? missing : 0;
    const start = (index % columns) * 2 + shift + 1;
    tile.style.gridArea = `${row + 1} / ${start} / ${row + 2} / ${start + 2}`;
  });
}

/**
 * Return the number of columns that makes the tiles largest.
 *
 * @param {number} count
 * @param {number} width @param {number} height
 */
export function bestFit(count, width, height) {
  const narrowest = height > width ? NARROWEST_ON_TALL : NARROWEST_ON_WIDE;
  let best = { columns: 1, tileWidth: 0, tileHeight: 0, area: -1 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - GAP * (columns - 1)) / columns;
    const cellHeight = (height - GAP * (rows - 1)) / rows;
    const tileWidth = Math.floor(Math.min(cellWidth, cellHeight * WIDEST));
    const tileHeight = Math.floor(Math.min(cellHeight, cellWidth / narrowest));
    const area = tileWidth * tileHeight;
    if (area > best.area) best = { columns, tileWidth, tileHeight, area };
  }
  return best;
}
