import { byId, icon, initials, make, setText, showChildren } from "./dom.js";
import { addressOf } from "./people.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Call} Call
 */

/** The dialog that invites more people: from a list, by name or number, and, to an open conference, by a link. */
export class InviteDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("invite-dialog"));
  #input = /** @type {HTMLInputElement} */ (byId("invite-input"));
  /** @type {string[]} */
  #names = [];
  /** The rows of the list, by name. @type {Map<string, HTMLElement>} */
  #rows = new Map();

  /**
   * @param {SbeClient} client
   * @param {object} actions
   * @param {(to: string) => Promise<void>} actions.onInvite
   * @param {(link: string) => void} actions.onCopy
   * @param {boolean} actions.isGuest a guest may pass on the link, but does not see who is registered
   */
  constructor(client, { onInvite, onCopy, isGuest }) {
    this.client = client;
    this.isGuest = isGuest;
    this.onInvite = onInvite;
    byId("btn-invite").addEventListener("click", () => this.open());
    byId("invite-close").addEventListener("click", () => this.#dialog.close());
    byId("invite-copy").addEventListener("click", () => onCopy(linkTo(client.currentCall)));
    byId("invite-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const to = this.#input.value.trim();
      if (!to) return;
      void onInvite(addressOf(to)).then(() => (this.#input.value = ""));
    });
  }

  open() {
    this.#draw();
    this.#dialog.showModal();
    void this.look();
  }

  /** @param {Call | null} call */
  draw(call) {
    const present = call !== null && call.hasFocus && ["open", "held", "calling"].includes(call.state);
    const may = present && call.conference !== null && (call.me?.role === "host" || call.conference.access === "open");
    byId("btn-invite").hidden = !may;
    if (!may) this.#dialog.close();
    else if (this.#dialog.open) this.#draw();
  }

  /** Update the list of those who are registered. The page calls it every few seconds. */
  async look() {
    if (!this.#dialog.open || this.isGuest) return;
    try {
      const { session } = this.client;
      const people = await this.client.people();
      this.#names = [...new Set(people.map(({ username }) => username))]
        .filter((name) => name !== session?.username)
        .sort();
    } catch {
      // Keep showing the last list.
    }
    this.#draw();
  }

  #draw() {
    const call = this.client.currentCall;
    const invites = call?.me?.role === "host" && !this.isGuest;
    const open = call?.conference?.access === "open";
    byId("invite-link-part").hidden = !open;
    /** @type {HTMLInputElement} */ (byId("invite-link")).value = open ? linkTo(call) : "";
    const present = new Set(call?.others.map(({ username }) => username));
    const names = invites ? this.#names.filter((name) => !present.has(name)) : [];
    byId("invite-form").hidden = !invites;
    byId("invite-none").hidden = !invites || names.length > 0;
    this.#rows = new Map(names.map((name) => [name, this.#rows.get(name) ?? this.#row(name)]));
    showChildren(byId("invite-list"), [...this.#rows.values()]);
  }

  /** @param {string} name */
  #row(name) {
    const button = make(
      "button",
      {
        "type": "button",
        "class": "button quiet small",
        "aria-label": `Invite ${name}`,
        "data-testid": `invite-${name}`,
      },
      icon("invite"),
      "Invite",
    );
    button.addEventListener("click", () => void this.onInvite(name).then(() => byId("invite-close").focus()));
    const text = make("div", { class: "person-text" }, make("p", { class: "person-name", title: name }, name));
    const avatar = make("span", { "class": "avatar", "aria-hidden": "true" });
    setText(avatar, initials(name));
    return make("li", { class: "person" }, avatar, text, button);
  }
}

/**
 * Return the address at which anyone can join an open conference.
 *
 * @param {Call | null} call
 */
export function linkTo(call) {
  const link = new URL(location.pathname, location.href);
  link.searchParams.set("join", call?.confId ?? "");
  return link.href;
}
