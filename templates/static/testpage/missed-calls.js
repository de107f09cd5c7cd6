import { byId, icon, initials, make, showChildren } from "./dom.js";
import { shortName } from "./join-link.js";
import { prefer, preferences } from "./preferences.js";
import { listOf } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/types.js").Conference} Conference
 */

/** The calls that no device of the user has answered, until the user dismisses them. */
export class MissedCalls {
  /** @type {Conference[]} */
  #calls = [];

  /**
   * @param {SbeClient} client
   * @param {(to: string[]) => void} onCall calls back
   */
  constructor(client, onCall) {
    this.client = client;
    this.onCall = onCall;
    byId("missed-clear").addEventListener("click", () => this.#dismiss());
  }

  /** Read the list again. */
  async look() {
    if (this.client.session === null) return this.#show([]);
    try {
      const seen = preferences.missedSeen[this.#user] ?? "";
      this.#show((await this.client.missedCalls()).filter(({ createdAt }) => createdAt > seen));
    } catch {
      // Keep showing the last list. The channel's state shows that the server cannot be reached.
    }
  }

  get #user() {
    return this.client.session?.username ?? "";
  }

  #dismiss() {
    const newest =
      this.#calls
        .map(({ createdAt }) => createdAt)
        .sort()
        .at(-1) ?? "";
    prefer({ missedSeen: { ...preferences.missedSeen, [this.#user]: newest } });
    this.#show([]);
  }

  /** @param {Conference[]} calls */
  #show(calls) {
    this.#calls = calls;
    byId("missed").hidden = calls.length === 0;
    /** @type {Map<string, Conference[]>} */
    const byCaller = new Map();
    for (const call of calls) byCaller.set(callerOf(call), [...(byCaller.get(callerOf(call)) ?? []), call]);
    showChildren(
      byId("missed-list"),
      [...byCaller].map(([caller, [newest, ...older]]) => this.#row(caller, newest, older.length)),
    );
  }

  /** @param {string} host @param {Conference} newest @param {number} older how many calls came before it */
  #row(host, { createdAt, participants }, older) {
    const others = participants.filter(({ role, state }) => role !== "host" && state !== "invited");
    const names = others
      .map(({ username }) => username)
      .filter((name) => name && name !== this.#user)
      .map(shortName);
    const together = names.length > 0 ? `with ${listOf(names)}` : "";
    const count = older > 0 ? `${older + 1} calls` : "";
    const detail = [count, timeOf(createdAt), together].filter(Boolean).join(" · ");
    const words = `Call ${shortName(host)} back`;
    const button = make(
      "button",
      { "type": "button", "class": "icon-button", "title": words, "aria-label": words },
      icon("phone"),
    );
    button.addEventListener("click", () => this.onCall([host]));
    return make(
      "li",
      { class: "person" },
      make("span", { "class": "avatar", "aria-hidden": "true" }, initials(host)),
      make(
        "div",
        { class: "person-text" },
        make("p", { class: "person-name", title: host }, shortName(host)),
        make("p", { class: "person-detail" }, detail),
      ),
      make("div", { class: "person-actions" }, button),
    );
  }
}

/** @param {Conference} call */
function callerOf({ participants }) {
  return participants.find(({ role }) => role === "host")?.username ?? "";
}

/** @param {string} instant */
function timeOf(instant) {
  const at = new Date(instant);
  const time = at.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" })}, ${time}`;
}
