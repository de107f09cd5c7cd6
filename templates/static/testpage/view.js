import { Ringer } from "../sbe/tones.js";
import { byId, setText } from "./dom.js";
import { nameOfGuest, shortName } from "./join-link.js";
import { hasLeft } from "./leave-dialog.js";
import { preferences } from "./preferences.js";
import { nameOf } from "./stage.js";
import { announce } from "./toasts.js";
import { channelWords, outageWords } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("./join-link.js").JoinLink} JoinLink
 * @typedef {"loading" | "register" | "preview" | "lobby" | "call"} ViewName
 */

// During an interruption shorter than this, only the dot changes, and no banner is shown.
const BANNER_AFTER_MS = 2_000;

/** The parts that concern the whole page: the choice of the view, the header, the title, the tone and the banner. */
export class View {
  /** @type {ViewName | null} the view that was drawn last */
  shown = null;
  #title = "";
  #ringer = new Ringer();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #bannerTimer;

  /**
   * @param {SbeClient} client
   * @param {JoinLink} link
   * @param {() => void} onLobby runs when the lobby comes up
   */
  constructor(client, link, onLobby) {
    this.client = client;
    this.link = link;
    this.onLobby = onLobby;
  }

  /** @param {boolean} loaded whether the page knows if it is registered */
  drawHead(loaded) {
    const { session } = this.client;
    const view = loaded ? this.#wanted : "loading";
    document.body.dataset.view = view;
    document.body.toggleAttribute("data-registered", session !== null);
    byId("view-register").hidden = view !== "register";
    byId("view-preview").hidden = view !== "preview";
    byId("view-lobby").hidden = view !== "lobby";
    byId("view-call").hidden = view !== "call";
    byId("channel-state").hidden = session === null;
    byId("identity").hidden = session === null;
    setText(byId("identity-name"), nameOfGuest(session?.username ?? ""));
    setText(byId("identity-device"), session?.device ?? "");
    this.#drawRejoin();
  }

  /** Finish a draw: update the tone and the title, and react to a change of the view. */
  drawFoot() {
    this.sound();
    this.#drawOutage();
    this.#retitle(this.client.currentCall);
    const view = /** @type {ViewName} */ (document.body.dataset.view);
    if (view !== this.shown) this.#enter(view);
  }

  /** @returns {ViewName} */
  get #wanted() {
    if (this.client.currentCall) return "call";
    if (this.link.isGuest || (this.link.confId !== null && this.client.rejoinable === null)) return "preview";
    return this.client.session ? "lobby" : "register";
  }

  #drawRejoin() {
    const { rejoinable, session } = this.client;
    byId("rejoin").hidden = rejoinable === null;
    if (!rejoinable) return;
    const others = rejoinable.participants.filter(
      ({ sessionId, state }) => sessionId !== session?.id && state !== "left",
    );
    setText(
      byId("rejoin-title"),
      others.length > 1
        ? `You are in a conference of ${others.length + 1}`
        : `You are in a call with ${shortName(others[0]?.username ?? "someone")}`,
    );
  }

  /** @param {ViewName} view */
  #enter(view) {
    const before = this.shown;
    this.shown = view;
    if (view === "register") byId("register-name").focus();
    if (view === "lobby") this.onLobby();
    if (view === "call" || (view === "lobby" && before === "call")) byId("main").focus();
  }

  /** Play the tone for the current state, if the user wants tones. */
  sound() {
    const { client } = this;
    const calling = client.callState === "calling" && client.currentCall?.confId !== null;
    this.#ringer.play(
      !preferences.ring ? null : client.invitations.length > 0 ? "incoming" : calling ? "waiting" : null,
    );
  }

  /** @param {Call | null} call */
  #retitle(call) {
    const [ringing] = this.client.invitations;
    const title = ringing ? `${shortName(ringing.username)} is calling` : call ? titleOf(call) : "";
    document.title = title ? `${title} – SBE Enabler` : "SBE Enabler";
    if (title !== this.#title) announce(title);
    this.#title = title;
  }

  drawChannel() {
    const { channelState: state, session } = this.client;
    byId("channel-state").dataset.state = state;
    setText(byId("channel-word"), channelWords(state));
    clearTimeout(this.#bannerTimer);
    const isReplaced = state === "replaced";
    byId("banner-spinner").hidden = isReplaced;
    byId("banner-resume").hidden = !isReplaced;
    if (isReplaced)
      setText(byId("banner-text"), "Too many other connections use this registration. Calls do not reach this page.");
    byId("banner").hidden = !isReplaced;
    if (state !== "offline" || session === null) return;
    this.#bannerTimer = setTimeout(() => {
      this.#drawOutage();
      byId("banner").hidden = false;
    }, BANNER_AFTER_MS);
  }

  #drawOutage() {
    const { callState, currentCall, channelState } = this.client;
    if (channelState !== "offline") return;
    setText(byId("banner-text"), outageWords(["ended", "moved"].includes(callState) ? null : currentCall));
  }
}

/** @param {Call} call */
function titleOf(call) {
  const name = nameOf(call);
  const alone = call.hasFocus && call.others.length === 0;
  switch (call.state) {
    case "calling":
      return alone ? "Waiting for others to join" : `Calling ${name}`;
    case "open":
      return alone ? "Alone in the conference" : `In a call with ${name}`;
    case "on-hold":
      return `${call.others.length === 1 ? name : "The conference"} is on hold`;
    case "held":
      return `On hold by ${name}`;
    case "moving":
      return "Moving the call";
    case "moved":
      return "Call moved";
    case "ended":
      return hasLeft(call) ? "You left the conference" : "Call ended";
  }
}
