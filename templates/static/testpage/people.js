import { byId, deviceIcon, icon, initials, make, setText, showChildren } from "./dom.js";
import { ringingDevice } from "./words.js";

/**
 * @typedef {import("../sbe/types.js").Registered} Registered
 * @typedef {Pick<Registered, "id" | "username" | "vtn" | "icmn" | "device">} Identified
 * @typedef {{username: string, numbers: string[], devices: string[], away: boolean}} Person
 * @typedef {{element: HTMLElement, box: HTMLInputElement, detail: HTMLElement}} Row
 */

// The most people that a user can pick: this many can be seen at a glance. The enabler allows more.
const MOST_PICKED = 24;

/** The registered people, the field that filters them and dials, and the people picked for a conference. */
export class People {
  /** @type {Person[]} */
  #people = [];
  /** @type {Set<string>} */
  #picked = new Set();
  /** The rows of the list, by username. @type {Map<string, Row>} */
  #rows = new Map();
  #input = /** @type {HTMLInputElement} */ (byId("dial-input"));
  #shown = "";

  /** @param {(to: string[], options: {video: boolean}) => void} onCall */
  constructor(onCall) {
    this.onCall = onCall;
    for (const kind of ["audio", "video"])
      byId(`picked-${kind}`).addEventListener("click", () => onCall([...this.#picked], { video: kind === "video" }));
    byId("picked-clear").addEventListener("click", () => {
      this.#unpick();
      this.#input.focus();
    });
    this.#input.addEventListener("input", () => this.#draw());
    byId("dial-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const to = this.#input.value.trim();
      if (to) this.onCall([addressOf(to)], { video: true });
    });
  }

  /**
   * @param {Registered[]} sessions everyone who is registered
   * @param {Identified} me
   */
  show(sessions, me) {
    /** @type {Map<string, Person>} */
    const people = new Map();
    for (const session of sessions.filter((other) => !isSamePerson(me, other))) {
      const person = people.get(session.username) ?? {
        username: session.username,
        numbers: [],
        devices: [],
        away: true,
      };
      person.away &&= session.away === true;
      if (session.device && !session.away) person.devices.push(session.device);
      for (const number of [session.vtn, session.icmn])
        if (number && !person.numbers.includes(number)) person.numbers.push(number);
      people.set(session.username, person);
    }
    this.#people = [...people.values()].sort((a, b) => a.username.localeCompare(b.username));
    for (const name of this.#picked) if (!people.has(name)) this.#picked.delete(name);
    for (const name of this.#rows.keys()) if (!people.has(name)) this.#rows.delete(name);
    this.#drawPicked();
    const ownDevices = devicesOf(me, sessions);
    const state = JSON.stringify([this.#people, ownDevices, me.username]);
    if (state === this.#shown) return;
    this.#shown = state;
    this.#draw();
    byId("own-devices").hidden = ownDevices.length === 0;
    byId("own-devices-list").replaceChildren(
      ...ownDevices.map((device) =>
        make("li", {}, icon(deviceIcon(device)), make("span", { class: "person-name" }, device)),
      ),
    );
    const second = me.username.toLowerCase() === "bob" ? "alice" : "bob";
    const link = byId("people-second-tab");
    link.setAttribute("href", `?user=${second}`);
    setText(link, `Open a tab as ${second}`);
  }

  clear() {
    this.#input.value = "";
    this.#unpick();
  }

  #unpick() {
    this.#picked.clear();
    this.#draw();
    this.#drawPicked();
  }

  #drawPicked() {
    const names = [...this.#picked];
    byId("picked").hidden = names.length === 0;
    setText(byId("picked-names"), names.length === 1 ? names[0] : `${names.length} people: ${names.join(", ")}`);
  }

  #draw() {
    const wanted = this.#input.value.trim().toLowerCase();
    const matches = this.#people.filter(
      ({ username, numbers }) =>
        username.toLowerCase().includes(wanted) || numbers.some((number) => number.includes(wanted)),
    );
    showChildren(
      byId("people-list"),
      matches.map((person) => this.#show(person)),
    );
    byId("dial-submit").hidden = wanted === "";
    byId("people-empty").hidden = this.#people.length > 0 || wanted !== "";
    const noMatch = byId("people-no-match");
    noMatch.hidden = matches.length > 0 || wanted === "";
    setText(noMatch, `Nobody here has the name “${this.#input.value.trim()}”. You can still call the name or number.`);
  }

  /** @param {Person} person */
  #show({ username, numbers, devices, away }) {
    const row = this.#rows.get(username) ?? this.#row(username);
    this.#rows.set(username, row);
    const detail = [...numbers, away ? "Away" : counted(devices).join(", ")].filter(Boolean).join(" · ");
    row.element.toggleAttribute("data-away", away);
    setText(row.detail, detail);
    row.detail.title = detail;
    row.box.checked = this.#picked.has(username);
    return row.element;
  }

  /** @param {string} username @returns {Row} */
  #row(username) {
    const [box, detail] = [this.#pick(username), make("p", { class: "person-detail" })];
    const element = make(
      "li",
      { "class": "person", "data-testid": `person-${username}` },
      box,
      make("span", { "class": "avatar", "aria-hidden": "true" }, initials(username)),
      make("div", { class: "person-text" }, make("p", { class: "person-name", title: username }, username), detail),
      make("div", { class: "person-actions" }, this.#button(username, false), this.#button(username, true)),
    );
    return { element, box, detail };
  }

  /** @param {string} username */
  #pick(username) {
    const box = make("input", {
      "type": "checkbox",
      "class": "check",
      "aria-label": `Pick ${username} for a conference`,
      "data-testid": `pick-${username}`,
    });
    box.addEventListener("change", () => {
      if (!box.checked) this.#picked.delete(username);
      else if (this.#picked.size < MOST_PICKED) this.#picked.add(username);
      else box.checked = false;
      this.#drawPicked();
    });
    return box;
  }

  /** @param {string} username @param {boolean} video */
  #button(username, video) {
    const words = video ? `Call ${username} with video` : `Call ${username} without video`;
    const button = make(
      "button",
      {
        "type": "button",
        "class": video ? "icon-button primary" : "icon-button",
        "title": words,
        "aria-label": words,
        "data-testid": `call-${video ? "video" : "audio"}-${username}`,
      },
      icon(video ? "video" : "phone"),
    );
    button.addEventListener("click", () => this.onCall([username], { video }));
    return button;
  }
}

/**
 * Return the names of a user's other devices that are here: those that ring when a call is moved.
 *
 * @param {Identified} me
 * @param {Registered[]} sessions everyone who is registered
 */
export function devicesOf(me, sessions) {
  return counted(
    sessions
      .filter((other) => isSamePerson(me, other) && other.id !== me.id && !other.away)
      .map((other) => ringingDevice(other, me.device)),
  );
}

/** @param {Identified} one @param {Identified} other */
function isSamePerson(one, other) {
  return (
    other.username === one.username ||
    (one.vtn !== null && other.vtn === one.vtn) ||
    (one.icmn !== null && other.icmn === one.icmn)
  );
}

/** Return the address for a typed text: a tel: URI (RFC 3966) for a number, or a username. @param {string} typed */
export function addressOf(typed) {
  const digits = typed.replace(/^tel:/, "").replace(/[\s().-]/g, "");
  return /^\+\d{5,15}$/.test(digits) ? `tel:${digits}` : typed;
}

/**
 * List each name once, with its count, because a user may have two laptops.
 *
 * @param {string[]} names
 */
function counted(names) {
  const counts = new Map();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${name} ×${count}` : name));
}
