import { drawSwitch } from "./device-switch.js";
import { byId, initials, setIcon, setText } from "./dom.js";
import { shortName } from "./join-link.js";
import { prefer, preferences } from "./preferences.js";

/**
 * @typedef {import("../sbe/client.js").Invitation} Invitation
 * @typedef {{camera: boolean, microphone: boolean}} Wanted the devices that the call begins with
 */

/**
 * The dialog of an invitation that rings. If several invitations ring, the dialog shows the oldest first. The user can
 * switch the microphone and, in a video call, the camera off before accepting.
 */
export class RingDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("ring-dialog"));
  /** @type {Invitation | null} */
  #shown = null;
  /** @type {Wanted} */
  #wanted = { camera: false, microphone: true };

  /**
   * @param {import("../sbe/media.js").LocalMedia} media
   * @param {object} actions
   * @param {(invitation: Invitation, wanted: Wanted) => void} actions.onAccept
   * @param {(invitation: Invitation) => void} actions.onDecline
   * @param {() => void} actions.onToneSwitch
   */
  constructor(media, { onAccept, onDecline, onToneSwitch }) {
    this.media = media;
    const withShown = (/** @type {(invitation: Invitation) => void} */ act) => () => this.#shown && act(this.#shown);
    byId("ring-accept").addEventListener(
      "click",
      withShown((invitation) => onAccept(invitation, this.#wanted)),
    );
    for (const name of /** @type {const} */ (["camera", "microphone"])) {
      byId(`ring-${name}`).addEventListener("click", () => {
        this.#wanted = { ...this.#wanted, [name]: !this.#wanted[name] };
        this.#drawSwitches();
      });
    }
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
    setText(byId("ring-name"), shortName(first.username));
    setText(byId("ring-avatar"), initials(first.username));
    const others =
      first.with.length > 0
        ? ` with ${first.with.length > 2 ? `${first.with.length} others` : first.with.map(shortName).join(" and ")}`
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
    byId("ring-camera").hidden = !first.media.video;
    // A user who is muted in another call stays muted.
    this.#wanted = { camera: first.media.video, microphone: !this.media.muted };
    this.#drawSwitches();
    this.#drawTone();
    if (!this.#dialog.open) this.#dialog.showModal();
    byId("ring-accept").focus();
  }

  #drawSwitches() {
    const { camera, microphone } = this.#wanted;
    drawSwitch("ring-camera", "camera", camera);
    drawSwitch("ring-microphone", "microphone", microphone);
    setIcon(byId("ring-accept"), camera ? "video" : "phone");
  }

  #drawTone() {
    setIcon(byId("ring-mute"), preferences.ring ? "bell" : "bell-off");
    byId("ring-mute").setAttribute("aria-pressed", String(!preferences.ring));
  }
}
