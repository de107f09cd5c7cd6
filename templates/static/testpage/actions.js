import { CallOver, MediaError, Refusal, SbeError } from "../sbe/sbe-client.js";
import { openMedia } from "./media-access.js";
import { preferences } from "./preferences.js";
import { guessDevice } from "./registration.js";
import { canRejoin } from "./leave-dialog.js";
import { addressesAgain, nameOf } from "./stage.js";
import { toast } from "./toasts.js";
import { errorWords } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("../sbe/call.js").Topology} Topology
 * @typedef {import("../sbe/client.js").Invitation} Invitation
 * @typedef {import("./join-link.js").JoinLink} JoinLink
 */

/** The user's actions. Each one opens the devices that it needs, calls the client and shows any error. */
export class Actions {
  #busy = false;
  /** Whether the last call began with the camera. */
  #withCamera = true;

  /**
   * @param {SbeClient} client
   * @param {JoinLink} link
   * @param {object} page
   * @param {() => void} page.onStart runs when a call is about to be placed
   * @param {() => void} page.onDone runs after each action
   */
  constructor(client, link, { onStart, onDone }) {
    this.client = client;
    this.link = link;
    this.onStart = onStart;
    this.onDone = onDone;
  }

  /**
   * Run one action at a time: while one is in progress, another press has no effect.
   *
   * @param {() => Promise<unknown> | unknown} action whose error is shown
   */
  async attempt(action) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await action();
    } catch (error) {
      this.complain(error);
    } finally {
      this.#busy = false;
      this.onDone();
    }
  }

  /**
   * Start a change of the call. The change may wait half a minute for the other side. The page stays usable during that
   * time.
   *
   * @param {(call: Call) => Promise<unknown>} change whose error is shown
   */
  begin(change) {
    const begun = async () => change(this.call);
    begun().catch((error) => this.complain(error));
  }

  /** Show an error, unless the call is over: after hanging up, no error matters. @param {unknown} error */
  complain(error) {
    if (!(error instanceof CallOver)) toast(errorWords(error), { bad: true, ...this.#stateOf(error) });
  }

  /**
   * Return what an error is about, and whether it is still true. Errors of one subject share a toast.
   *
   * @param {unknown} error
   * @returns {import("./toasts.js").ToastOptions}
   */
  #stateOf(error) {
    const { media } = this.client;
    if (error instanceof MediaError) return { subject: error.device, holds: () => media[error.device] === null };
    if (error instanceof Refusal) return { subject: error.code };
    return error instanceof SbeError ? { subject: error.name } : {};
  }

  /** The call that has not ended. @throws {SbeError} without one */
  get call() {
    const call = this.client.currentCall;
    if (call === null || call.state === "ended") throw new SbeError("There is no call.");
    return call;
  }

  /** Whether there is a call on this device. */
  get inCall() {
    const call = this.client.currentCall;
    return call !== null && !["ended", "moved"].includes(call.state);
  }

  /** @param {string} text */
  copy(text) {
    void this.attempt(async () => {
      await navigator.clipboard.writeText(text);
      toast("Copied.");
    });
  }

  /** @param {string[]} to @param {{video: boolean, topology?: Topology}} options */
  async start(to, { video, topology = preferences.direct && to.length === 1 ? "peer" : "focus" }) {
    if (!(await openMedia(this.client.media, { camera: video }))) return;
    this.#withCamera = video;
    this.onStart();
    await this.#orNoCall(() => this.client.startConference({ to, video, topology }));
  }

  /** Call the same addresses as the last call. */
  async startAgain() {
    const call = this.client.currentCall;
    if (call === null) return;
    // A guest sees the preview again.
    if (this.link.isGuest) return this.client.dismiss();
    if (canRejoin(call)) return this.#joinAgain(call);
    await this.start(addressesAgain(call), {
      video: this.#withCamera,
      topology: call.topology,
    });
  }

  /** @param {Call} call that this side has left */
  async #joinAgain({ confId }) {
    if (confId && (await openMedia(this.client.media, { camera: this.#withCamera })))
      await this.#orNoCall(() => this.client.join(confId));
  }

  async startOpenConference() {
    if (await openMedia(this.client.media, { camera: true }))
      await this.#orNoCall(() => this.client.startConference({ access: "open" }));
  }

  /**
   * Join the conference of the link with the devices that are open now. If it is locked, ask the host to be let in.
   *
   * @param {string | null} guest the name of a guest; null for a registered user
   */
  async joinLinked(guest) {
    const { client, link } = this;
    const { confId } = link;
    if (confId === null) return;
    if (guest !== null) await this.#registerGuest(link.guestNamed(guest));
    if (client.rejoinable) return client.rejoin();
    try {
      await this.#orNoCall(() => client.join(confId));
      this.link.forget();
    } catch (error) {
      // The host has locked the conference. Ask to be let in.
      if (error instanceof Refusal && error.code === "locked") return client.knock(confId);
      // The conference has ended, or never existed, so another attempt would fail too.
      if (error instanceof Refusal && error.status === 404) this.link.forget();
      throw error;
    }
  }

  /** @param {string} username */
  async #registerGuest(username) {
    const { client } = this;
    if (client.session?.username === username) return;
    if (client.session !== null) await client.unregister();
    await client.register({ username, device: guessDevice() });
  }

  /** Leave the conference, which goes on with another host. @param {string} successor the participant ID of that host */
  async leave(successor) {
    const { call } = this;
    await call.makeHost(successor);
    await call.leave();
  }

  /** @param {() => Promise<void>} action */
  async #orNoCall(action) {
    try {
      await action();
    } catch (error) {
      // No call has begun, so there is none to show. Stay on the view where the user started the action.
      this.client.dismiss();
      throw error;
    }
  }

  async rejoin() {
    if (await openMedia(this.client.media, { camera: true })) await this.client.rejoin();
  }

  /** @param {Invitation} invitation @param {import("./ring.js").Wanted} wanted */
  async accept({ confId, reason, username, video }, { camera, microphone }) {
    const { client } = this;
    const own = client.unansweredCall;
    if (this.inCall && !own) await this.call.hangUp();
    if (!camera) client.media.close("camera");
    this.#withCamera = camera;
    try {
      // The user wants to see the other side even if this side has no camera.
      // After a move, the other side's video continues even if this user sent none.
      if (!(await openMedia(client.media, { camera }))) return;
      client.media.muted = !microphone;
      await client.answer(confId, { video: video || reason === "move" });
    } catch (error) {
      // Both sides called each other and both accepted, but the other side was first. This page's own call goes on.
      const crossed =
        own !== null && nameOf(own) === username && error instanceof Refusal && error.code === "not-ringing";
      if (!crossed || own.state === "ended") throw error;
    }
  }

  /** @param {import("./tile-menu.js").Deed} deed @param {string} participant its ID */
  manage(deed, participant) {
    this.begin((call) => {
      if (deed === "remove") return call.removeParticipant(participant);
      if (deed === "host") return call.makeHost(participant);
      return call.muteParticipant(participant, deed === "mute" ? { audio: true } : { video: true });
    });
  }

  /** Use another device from now on. @param {"camera" | "microphone"} name @param {string} deviceId empty for the default */
  async changeDevice(name, deviceId) {
    const { media } = this.client;
    // To choose a microphone in a call means to use it. A camera that the user turned off stays off.
    const wanted = media[name] !== null || media.lost.includes(name) || (name === "microphone" && this.inCall);
    if (!wanted) media.preferred[name] = deviceId;
    else await (name === "camera" ? media.openCamera({ deviceId }) : media.openMicrophone({ deviceId }));
  }

  /** Mute or unmute the microphone, and open it if it is not open. @param {Call} call */
  async switchMicrophone(call) {
    const { media } = this.client;
    if (media.microphone !== null) return call.mute({ audio: !media.muted });
    await media.openMicrophone();
    await call.mute({ audio: false });
  }
}
