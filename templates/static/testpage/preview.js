import { Refusal } from "../sbe/sbe-client.js";
import { drawSwitch } from "./device-switch.js";
import { byId, initials, make, setText, showTracks } from "./dom.js";
import { nameOfGuest } from "./join-link.js";
import { LevelMeter } from "./level-meter.js";
import { tryMedia } from "./media-access.js";
import { prefer, preferences } from "./preferences.js";
import { deniedWords, errorWords, fieldWords, knockWords } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/sbe-client.js").MediaError} MediaError
 * @typedef {import("./join-link.js").JoinLink} JoinLink
 * @typedef {"camera" | "microphone"} DeviceName
 */

/** @type {Record<DeviceName, MediaDeviceKind>} */
const KINDS = { camera: "videoinput", microphone: "audioinput" };
const NAMES = /** @type {DeviceName[]} */ (Object.keys(KINDS));

/**
 * The page before a conference is joined by its link. It shows the own camera and microphone, and lets the user choose
 * them. It sends nothing, and makes no request, before the user presses *Join*.
 */
export class Preview {
  #shown = false;
  #video = /** @type {HTMLVideoElement} */ (byId("preview-video"));
  #name = /** @type {HTMLInputElement} */ (byId("preview-name"));
  #meter = new LevelMeter(byId("preview-level"));
  /** The devices that the user wants to use. They stay chosen if joining fails. */
  #wants = { camera: true, microphone: true };
  #opening = false;
  /** @type {MediaError[]} */
  #errors = [];
  /** Whether the host of a locked conference has been asked, and has not answered yet. */
  #waits = false;
  /** Whether a request to join has not been answered yet. The client repeats it if the server asks for a pause. */
  #joins = false;

  /**
   * @param {SbeClient} client
   * @param {JoinLink} link
   * @param {object} actions
   * @param {(guest: string | null) => Promise<void>} actions.onJoin gets the name of a guest; null for registered users
   * @param {(error: unknown) => void} actions.onTrouble shows an error that this page does not show
   * @param {() => void} actions.onBack
   */
  constructor(client, link, { onJoin, onTrouble, onBack }) {
    this.client = client;
    this.link = link;
    this.onJoin = onJoin;
    this.onTrouble = onTrouble;
    byId("preview-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#join();
    });
    this.#name.addEventListener("input", () => this.#draw());
    byId("preview-back").addEventListener("click", onBack);
    byId("preview-retry").addEventListener("click", () => void this.#open());
    for (const name of NAMES) {
      byId(`preview-${name}`).addEventListener("click", () => this.#toggle(name));
      selectOf(name).addEventListener("change", () => void this.#choose(name));
    }
    byId("preview-cancel").addEventListener("click", () => void client.withdrawKnock().catch(onTrouble));
    client.on("knock", (state) => this.#onKnock(state));
    client.media.on("change", () => this.#draw());
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#listDevices());
  }

  /** @param {boolean} shown whether this page is the current view */
  draw(shown) {
    const before = this.#shown;
    this.#shown = shown;
    if (shown && !before) this.#enter();
    if (!shown && before) this.#exit();
    this.#draw();
  }

  #enter() {
    if (!this.#name.value) this.#name.value = nameOfGuest(this.client.session?.username ?? "");
    void this.#open();
    // On a phone, the keyboard would cover the page.
    if (this.#needsName && matchMedia("(hover: hover)").matches) this.#name.focus();
    else byId("main").focus();
  }

  #exit() {
    this.#meter.follow(null);
    // The call uses the devices from now on.
    if (this.client.currentCall === null) this.client.media.closeAll();
  }

  get #needsName() {
    return this.link.isGuest || this.client.session === null;
  }

  /** Open the wanted devices, and close the others. The user may change the wishes while the browser asks. */
  async #open() {
    if (this.#opening) return;
    this.#opening = true;
    try {
      this.#errors = await this.#tryWanted();
    } finally {
      this.#opening = false;
    }
    this.#applyWishes();
    if (!this.#shown) return this.#passOn();
    this.#draw();
    await this.#listDevices();
  }

  async #tryWanted() {
    for (;;) {
      const wanted = { ...this.#wants };
      const errors = await tryMedia(this.client.media, wanted);
      if (NAMES.every((name) => wanted[name] || !this.#wants[name])) return errors;
    }
  }

  #applyWishes() {
    const { media } = this.client;
    if (!this.#wants.camera) media.close("camera");
    media.muted = !this.#wants.microphone;
  }

  /** The user joined, or went back, while the browser asked for the devices. */
  #passOn() {
    const { media, currentCall: call } = this.client;
    if (call === null || call.state === "ended") media.closeAll();
    else if (media.camera !== null) call.addVideo().catch(this.onTrouble);
  }

  /** @param {DeviceName} name */
  #toggle(name) {
    const { media } = this.client;
    const isOpen = media[name] !== null && !(name === "microphone" && media.muted);
    this.#wants[name] = this.#opening ? !this.#wants[name] : !isOpen;
    if (this.#opening) return;
    this.#applyWishes();
    if (this.#wants[name] && media[name] === null) void this.#open();
  }

  /** @param {DeviceName} name */
  async #choose(name) {
    const { media } = this.client;
    prefer({ [name]: selectOf(name).value });
    media.preferred = { camera: preferences.camera, microphone: preferences.microphone };
    if (media[name] === null) return;
    media.close(name);
    await this.#open();
  }

  async #listDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    for (const name of NAMES) {
      // Before the user has allowed the devices, the browser does not name them.
      const exists = devices.some(({ kind }) => kind === KINDS[name]);
      const found = devices.filter(({ kind, deviceId }) => kind === KINDS[name] && !["", "default"].includes(deviceId));
      const select = selectOf(name);
      select.replaceChildren(
        make("option", { value: "" }, exists ? "System default" : `No ${name} found`),
        ...found.map(({ deviceId, label }, at) => make("option", { value: deviceId }, label || `${name} ${at + 1}`)),
      );
      select.value = found.some(({ deviceId }) => deviceId === preferences[name]) ? preferences[name] : "";
      select.disabled = found.length === 0;
    }
  }

  #draw() {
    if (!this.#shown) return;
    const { media, session, rejoinable } = this.client;
    const { camera, microphone, muted } = media;
    const listens = microphone !== null && !muted;
    showTracks(this.#video, [camera]);
    byId("preview-picture").dataset.picture = String(camera !== null);
    byId("preview-off").hidden = camera !== null;
    const name = this.#needsName ? this.#name.value : (session?.username ?? "");
    byId("preview-avatar").hidden = name.trim() === "";
    setText(byId("preview-avatar"), initials(name));
    this.#meter.follow(listens ? microphone : null);
    drawSwitch("preview-camera", "camera", camera !== null);
    drawSwitch("preview-microphone", "microphone", listens);
    const refused = this.#errors.filter(({ device }) => device !== "screen" && media[device] === null);
    byId("preview-trouble").hidden = refused.length === 0;
    setText(byId("preview-trouble-text"), refused.length === 0 ? "" : deniedWords(refused, { camera: true }).cause);
    byId("preview-name-field").hidden = !this.#needsName;
    this.#name.readOnly = this.#waits;
    byId("preview-as").hidden = this.#needsName;
    setText(byId("preview-as-name"), session?.username ?? "");
    const title = rejoinable ? "Go back to the conference?" : "Ready to join?";
    setText(byId("preview-title"), this.#waits ? "Asking to join" : title);
    setText(byId("preview-join"), this.#joins ? "Joining…" : rejoinable ? "Rejoin" : "Join");
    byId("preview-back").hidden = this.#waits || this.link.isGuest || session === null;
    byId("preview-join").hidden = this.#waits;
    byId("preview-waiting").hidden = !this.#waits;
    byId("preview-cancel").hidden = !this.#waits;
  }

  /** @param {string | null} state of the request to be let in */
  #onKnock(state) {
    this.#waits = state === "waiting";
    this.#draw();
    const form = knockWords(state);
    if (form !== undefined) this.#complain({ form });
    if (state === "admitted") void this.#join();
  }

  async #join() {
    const name = this.#name.value.trim();
    this.#complain({});
    if (this.#needsName && !name) return this.#complain({ name: "Enter your name." });
    const join = /** @type {HTMLButtonElement} */ (byId("preview-join"));
    this.#joins = join.disabled = true;
    this.#draw();
    try {
      await this.onJoin(this.#needsName ? name : null);
    } catch (error) {
      if (!this.#shown) return this.onTrouble(error);
      const { username } = error instanceof Refusal ? fieldWords(error) : {};
      this.#complain(username ? { name: username } : { form: errorWords(error) });
    } finally {
      this.#joins = join.disabled = false;
      this.#draw();
    }
  }

  /** @param {{name?: string, form?: string}} words */
  #complain({ name, form }) {
    for (const [id, text] of /** @type {[string, string | undefined][]} */ ([
      ["preview-name-error", name],
      ["preview-error", form],
    ])) {
      setText(byId(id), text ?? "");
      byId(id).hidden = text === undefined;
    }
    this.#name.setAttribute("aria-invalid", String(name !== undefined));
    if (name !== undefined) this.#name.focus();
  }
}

/** @param {DeviceName} name */
function selectOf(name) {
  return /** @type {HTMLSelectElement} */ (byId(`preview-select-${name}`));
}
