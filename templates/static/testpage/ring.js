import { byId, initials, setIcon, setText } from "./dom.js";
import { prefer, preferences } from "./preferences.js";

/** @typedef {import("../sbe/client.js").Invitation} Invitation */

/** The dialog of an invitation that rings. If several invitations ring, the dialog shows the oldest first. */
export class RingDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("ring-dialog"));
  /** @type {Invitation | null} */
  #shown = null;

  /**
   * @param {object} actions
   * @param {(invitation: Invitation, options: {camera: boolean}) => void} actions.onAccept
   * @param {(invitation: Invitation) => void} actions.onDecline
   * @param {() => void} actions.onToneSwitch
   */
  constructor({ onAccept, onDecline, onToneSwitch }) {
    const withShown = (/** @type {(invitation: Invitation) => void} */ act) => () => this.#shown && act(this.#shown);
    byId("ring-accept").addEventListener(
      "click",
      withShown((invitation) => onAccept(invitation, { camera: invitation.media.video })),
    );
    byId("ring-audio").addEventListener(
      "click",
      withShown((invitation) => onAccept(invitation, { camera: false })),
    );
    byId("ring-decline").addEventListener("click", withShown(onDecline));
    byId("ring-mute").addEventListener("click", () => {
      prefer({ ring: !preferences.ring });
      this.#drawTone();
      onToneSwitch();
    });
    // Escape would hide the dialog while the call still rings.
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  /** @param {Invitation[]} invitations @param {boolean} busy */
  show(invitations, busy) {
    const first = invitations[0] ?? null;
    byId("ring-note").hidden = !busy;
    if (first === this.#shown) return;
    this.#shown = first;
    if (first === null) return this.#dialog.close();
    setText(byId("ring-name"), first.username);
    setText(byId("ring-avatar"), initials(first.username));
    const others =
      first.with.length > 0
        ? ` with ${first.with.length > 2 ? `${first.with.length} others` : first.with.join(" and ")}`
        : "";
    setText(
      byId("ring-text"),
      first.reason === "move"
        ? "Continue the call on this device"
        : others && first.reason === "call"
          ? `Conference${others}`
          : first.media.video
            ? "Incoming video call"
            : "Incoming audio call",
    );
    byId("ring-audio").hidden = !first.media.video;
    setIcon(byId("ring-accept"), first.media.video ? "video" : "phone");
    this.#drawTone();
    if (!this.#dialog.open) this.#dialog.showModal();
    byId("ring-accept").focus();
  }

  #drawTone() {
    setIcon(byId("ring-mute"), preferences.ring ? "bell" : "bell-off");
    byId("ring-mute").setAttribute("aria-pressed", String(!preferences.ring));
  }
}
