import { qualityReader } from "../sbe/stats.js";
import { byId, makeSvg, setText } from "./dom.js";
import { bitrateWords } from "./words.js";

/** @typedef {import("../sbe/stats.js").Quality} Quality */

const KEPT = 60;
const WIDTH = 120;
const HEIGHT = 36;

/** Reads the connection's statistics once a second and draws those of the last minute. */
export class QualityChart {
  /** @type {Quality[]} */
  #history = [];
  /** @type {ReturnType<typeof qualityReader> | null} */
  #read = null;
  /** @type {RTCPeerConnection | null} */
  #pc = null;

  /** @param {(quality: Quality) => void} onReading */
  constructor(onReading) {
    this.onReading = onReading;
  }

  /** @param {RTCPeerConnection | null} pc whose figures are shown from now on; null for none */
  follow(pc) {
    if (pc === this.#pc) return;
    if (this.#pc === null || pc === null) this.#history = [];
    this.#pc = pc;
    this.#read = pc ? qualityReader() : null;
    byId("stats-chart").hidden = pc === null;
  }

  /** Take one reading. The page calls it once a second. */
  async tick() {
    const [pc, read] = [this.#pc, this.#read];
    if (!pc || !read || pc.connectionState === "closed") return;
    const quality = await read(pc);
    if (pc !== this.#pc) return;
    this.#history = [...this.#history, quality].slice(-KEPT);
    this.#draw(quality);
    this.onReading(quality);
  }

  /** @param {Quality} now */
  #draw(now) {
    const history = this.#history;
    const received = history.map(({ receivedBps }) => receivedBps);
    const sent = history.map(({ sentBps }) => sentBps);
    spark("spark-bitrate", bitrateWords(now.receivedBps), [received, sent], 100_000);
    spark("spark-loss", `${now.lossPercent.toFixed(1)} %`, [history.map(({ lossPercent }) => lossPercent)], 5);
    spark(
      "spark-rtt",
      now.rttMs === null ? "–" : `${Math.round(now.rttMs)} ms`,
      [history.map(({ rttMs }) => rttMs ?? 0)],
      20,
    );
    setText(
      byId("stats-text"),
      `Receiving ${bitrateWords(now.receivedBps)}, sending ${bitrateWords(now.sentBps)}, loss ${now.lossPercent.toFixed(1)} percent, ` +
        `round trip ${now.rttMs === null ? "unknown" : `${Math.round(now.rttMs)} milliseconds`}.`,
    );
  }
}

/**
 * @param {string} id
 * @param {string} value
 * @param {number[][]} series
 * @param {number} least the smallest allowed maximum of the scale, so that small changes look small
 */
function spark(id, value, series, least) {
  const holder = byId(id);
  const svg = /** @type {SVGSVGElement} */ (holder.querySelector("svg"));
  setText(/** @type {Element} */ (holder.querySelector(".spark-value")), value);
  const top = Math.max(least, ...series.flat()) * 1.1;
  const point = (/** @type {number} */ figure, /** @type {number} */ index, /** @type {number} */ count) =>
    `${(WIDTH - (count - 1 - index) * (WIDTH / (KEPT - 1))).toFixed(1)},${(HEIGHT - 1 - (figure / top) * (HEIGHT - 3)).toFixed(1)}`;
  const lines = series.map((figures) => figures.map((figure, index) => point(figure, index, figures.length)));
  const startX = lines[0][0].split(",")[0];
  svg.replaceChildren(
    makeSvg("path", { class: "area", d: `M${startX},${HEIGHT} L${lines[0].join(" L")} L${WIDTH},${HEIGHT} Z` }),
    makeSvg("path", { class: "base", d: `M0,${HEIGHT - 0.5} H${WIDTH}` }),
    ...[...lines]
      .reverse()
      .map((line, index) =>
        makeSvg("path", { class: index === lines.length - 1 ? "line" : "line second", d: `M${line.join(" L")}` }),
      ),
  );
}
