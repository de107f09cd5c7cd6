import { byId, icon, make } from "./dom.js";
import { diffLines } from "./diff.js";
import { Drawer } from "./drawer.js";

/**
 * @typedef {import("../sbe/types.js").Trace} Trace
 */

const LIMIT = 400;
const CONTEXT_LINES = 2;

/**
 * The drawer that lists every request and event, oldest first. While the end of the list is in view, the drawer scrolls
 * with new entries.
 */
export class Timeline {
  #drawer;
  #list = byId("timeline-list");
  #empty = byId("timeline-empty");
  /** The last description in each direction, for comparison with the next one. @type {Map<string, string>} */
  #lastSdp = new Map();

  constructor() {
    this.#drawer = new Drawer("timeline", "btn-timeline", () => {
      this.#list.scrollTop = this.#list.scrollHeight;
      return byId("timeline-close");
    });
    byId("timeline-clear").addEventListener("click", () => {
      this.#list.replaceChildren();
      this.#empty.hidden = false;
    });
  }

  open() {
    this.#drawer.toggle(true);
  }

  /** @param {Trace} trace */
  add(trace) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 48;
    const sdp = trace.description?.sdp ?? null;
    const before = this.#lastSdp.get(trace.direction) ?? null;
    if (sdp !== null) this.#lastSdp.set(trace.direction, sdp);
    this.#empty.hidden = true;
    list.append(entry(trace, before));
    while (list.children.length > LIMIT) list.firstElementChild?.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

/**
 * @param {Trace} trace
 * @param {string | null} before the previous SDP in the same direction
 */
function entry(trace, before) {
  const { direction, title, state, modId, who, status, tookMs, seq, failed, description } = trace;
  const meta = [clock(trace.at)];
  if (who) meta.push(who);
  if (status) meta.push(String(status));
  if (seq !== undefined) meta.push(`#${seq}`);
  if (tookMs !== undefined) meta.push(`${Math.round(tookMs)} ms`);
  if (description) meta.push(`SDP ${description.type}`);
  const metaLine = make("span", { class: "entry-meta" }, meta.join(" · "));
  if (modId) metaLine.append(" · ", make("code", { title: modId }, `mod ${modId.slice(0, 8)}`));

  const way = { out: "sent", in: "received", none: "" }[direction];
  const summary = make(
    "summary",
    {},
    icon(direction),
    make("span", { class: "entry-title", title }, title, make("span", { class: "sr-only" }, ` ${way}`)),
  );
  summary.append(state ? make("span", { class: "entry-state", title: state }, state) : make("span"), metaLine);

  const details = make("details", {}, summary);
  // An entry's body is created when the entry is first opened: most entries never are.
  details.addEventListener("toggle", () => details.append(body(trace, before)), { once: true });
  return make(
    "li",
    {
      "class": "entry",
      "data-testid": "timeline-item",
      "data-sort": trace.sort,
      "data-title": title,
      "data-direction": direction,
      "data-state": state,
      "data-mod-id": modId,
      "data-failed": String(Boolean(failed)),
    },
    details,
  );
}

/** @param {Trace} trace @param {string | null} before */
function body({ modId, confId, description, detail }, before) {
  const element = make("div", { class: "entry-body" });
  const facts = { ...(modId ? { modId } : {}), ...(confId ? { confId } : {}), ...withoutUndefined(detail ?? {}) };
  if (Object.keys(facts).length > 0)
    element.append(make("pre", { "tabindex": "0", "aria-label": "Details" }, JSON.stringify(facts, withoutSdp, 2)));
  if (description) element.append(...sdpView(description.sdp, before));
  return element;
}

/** @param {string} sdp @param {string | null} before */
function sdpView(sdp, before) {
  const text = make(
    "pre",
    { "tabindex": "0", "data-testid": "timeline-sdp", "aria-label": "Session description" },
    sdp.trimEnd(),
  );
  if (before === null) return [text];
  const whole = make("button", { "type": "button", "aria-pressed": "true" }, "Whole SDP");
  const changes = make(
    "button",
    { "type": "button", "aria-pressed": "false", "data-testid": "timeline-compare" },
    "Changes from previous",
  );
  const show = (/** @type {boolean} */ compared) => {
    whole.setAttribute("aria-pressed", String(!compared));
    changes.setAttribute("aria-pressed", String(compared));
    text.replaceChildren(...(compared ? diffView(before, sdp) : [sdp.trimEnd()]));
  };
  whole.addEventListener("click", () => show(false));
  changes.addEventListener("click", () => show(true));
  return [
    make(
      "div",
      { "class": "segments", "role": "group", "aria-label": "How to show the session description" },
      whole,
      changes,
    ),
    text,
  ];
}

/** @param {string} before @param {string} after */
function diffView(before, after) {
  const lines = diffLines(before, after);
  const near = lines.map((_, index) =>
    lines.slice(Math.max(0, index - CONTEXT_LINES), index + CONTEXT_LINES + 1).some(({ change }) => change !== "same"),
  );
  /** @type {Node[]} */
  const view = [];
  let skipped = 0;
  const tellSkipped = () => {
    if (skipped > 0)
      view.push(make("span", { class: "diff-skip" }, `⋯ ${skipped} unchanged line${skipped === 1 ? "" : "s"}`));
    skipped = 0;
  };
  lines.forEach(({ change, line }, index) => {
    if (!near[index]) {
      skipped += 1;
      return;
    }
    tellSkipped();
    const sign = { same: " ", added: "+", removed: "−" }[change];
    view.push(make("span", { "class": "diff-line", "data-change": change }, `${sign} ${line}`));
  });
  tellSkipped();
  return view;
}

/** @param {Date} at */
function clock(at) {
  return `${at.toLocaleTimeString([], { hour12: false })}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** @param {Record<string, unknown>} object */
function withoutUndefined(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== null));
}

/** @param {string} key @param {unknown} value */
function withoutSdp(key, value) {
  return key === "sdp" ? "…" : value;
}
