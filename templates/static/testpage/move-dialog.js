import { byId, icon, make, setText } from "./dom.js";
import { devicesOf } from "./people.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 */

/**
 * Shows, before a move, which devices will ring, and that the call ends if none of them answers. A device that
 * registers while the dialog is open appears in it.
 */
export class MoveDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("move-dialog"));
  #link = /** @type {HTMLInputElement} */ (byId("move-link"));
  #start = /** @type {HTMLButtonElement} */ (byId("move-start"));
  /** The names of the devices that would ring. Null until they are known. @type {string[] | null} */
  #devices = null;

  /**
   * @param {SbeClient} client
   * @param {object} actions
   * @param {(devices: string[]) => void} actions.onMove
   * @param {() => void} actions.onCopy
   */
  constructor(client, { onMove, onCopy }) {
    this.client = client;
    byId("move-close").addEventListener("click", () => this.#dialog.close());
    byId("move-copy").addEventListener("click", onCopy);
    this.#start.addEventListener("click", () => {
      this.#dialog.close();
      onMove(this.#devices ?? []);
    });
  }

  /** The address at which another device registers as the same user. */
  get link() {
    return this.#link.value;
  }

  open() {
    const name = this.client.session?.username ?? "";
    const link = new URL(location.pathname, location.href);
    link.searchParams.set("user", name);
    setText(byId("move-name"), name);
    this.#link.value = link.href;
    byId("move-code").setAttribute("src", `/dev/qr.svg?text=${encodeURIComponent(link.href)}`);
    this.#devices = null;
    this.#draw();
    this.#dialog.showModal();
    byId("move-close").focus();
    void this.look();
  }

  /** @param {boolean} possible whether there is a call that could be moved */
  show(possible) {
    if (!possible) this.#dialog.close();
  }

  /** Update the list of devices. The page calls it every few seconds. */
  async look() {
    const { session } = this.client;
    if (!this.#dialog.open || session === null) return;
    try {
      this.#devices = devicesOf(session, await this.client.people());
    } catch {
      // Keep the last list. Until a first list arrives, the call cannot be moved: if no device rings, a move ends the
      // call.
    }
    this.#draw();
  }

  #draw() {
    const devices = this.#devices;
    const words =
      devices === null
        ? "Looking for your other devices…"
        : devices.length === 0
          ? NONE
          : "These will ring. The first to answer takes the call. If none answers in time, the call ends for both of you.";
    setText(byId("move-text"), words);
    const list = byId("move-devices");
    list.hidden = !devices?.length;
    if (JSON.stringify(devices) !== list.dataset.devices)
      list.replaceChildren(
        ...(devices ?? []).map((device) =>
          make("li", {}, icon("device"), make("span", { class: "person-name" }, device)),
        ),
      );
    list.dataset.devices = JSON.stringify(devices);
    this.#start.disabled = !devices?.length;
  }
}

const NONE =
  "You have no other device here yet. Open this page on one, and it appears here. The call goes on meanwhile.";
