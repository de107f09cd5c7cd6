import { byId, icon, initials, make, setIcon, setText, showTracks } from "./dom.js";
import { shortName } from "./join-link.js";
import { arrange } from "./layout.js";
import { canBeHost } from "./leave-dialog.js";
import { preferences } from "./preferences.js";
import { PAUSED, isSilent, pictureless, ringingWords, troubleWords } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("../sbe/call.js").RemoteParticipant} RemoteParticipant
 *
 * @typedef {{icon: string, words: string}} Veil an overlay over the picture, with an icon and a text
 *
 * @typedef {object} Face the content of one tile
 * @property {string} key
 * @property {string} participant its ID
 * @property {string} name
 * @property {string} testid
 * @property {"person" | "self" | "screen"} sort
 * @property {(MediaStreamTrack | null)[]} tracks
 * @property {boolean} picture whether it shows video
 * @property {"" | "invited" | "on-hold" | "moving" | "away" | "interrupted" | "silent" | "paused"} state
 * @property {Veil | null} veil
 * @property {0 | 1 | 2 | 3 | null} signal how well its media arrives; null if none is expected
 * @property {boolean} silent its microphone is off, or it has none
 * @property {boolean} microphone whether it has one
 * @property {boolean} weak its connection loses too many packets
 * @property {boolean} speaking
 * @property {string} words shown under the name while there is no video
 * @property {boolean} host whether it is the host of three or more
 * @property {boolean} hand whether its hand is raised
 * @property {boolean} manageable whether this side may mute and remove them
 * @property {boolean} canBeHost whether it can become the host
 */

/**
 * Return the overlay for a state that is no trouble.
 *
 * @param {string} state
 * @param {string} name of the only other participant; empty if there are several
 * @returns {Veil | undefined}
 */
function veilOf(state, name) {
  if (state === "on-hold") return { icon: "pause", words: name ? `${name} put you on hold` : "On hold" };
  if (state === "moving")
    return { icon: "move", words: name ? `${name} is moving to another device` : "Moving to another device" };
  return undefined;
}

/**
 * A tile for each participant of a conference, and for each screen. The order and the elements of the tiles do not
 * change, so that nothing flickers or jumps when others join and leave.
 */
export class Tiles {
  #list = byId("tiles");
  /** @type {Map<string, HTMLElement>} */
  #tiles = new Map();
  /** The key of the tile that the user pinned. @type {string | null} */
  #pinned = null;
  /** The keys of the screens that the user removed from the front. @type {Set<string>} */
  #sentBack = new Set();
  /** The keys of the screens that came after the user pinned a tile. @type {Set<string>} */
  #overPin = new Set();
  #laidOut = "";
  /** The keys of new tiles. A new tile has no earlier position from which it could glide. @type {Set<string>} */
  #arriving = new Set();

  /**
   * @param {SbeClient} client
   * @param {(target: import("./tile-menu.js").Target, button: HTMLElement) => void} onMenu
   */
  constructor(client, onMenu) {
    this.client = client;
    this.onMenu = onMenu;
    new ResizeObserver(() => this.#layOut({ moves: false })).observe(this.#list);
  }

  /** The number of tiles. */
  get size() {
    return this.#tiles.size;
  }

  /** Whether this side has a tile. */
  get holdsSelf() {
    return this.#tiles.has("self");
  }

  /** @param {Call | null} call */
  draw(call) {
    const shows = call !== null && call.hasFocus && !["ended", "moving", "moved"].includes(call.state);
    this.#list.hidden = !shows;
    const faces = shows ? facesOf(call, this.client) : [];
    const wanted = new Set(faces.map(({ key }) => key));
    for (const [key, tile] of this.#tiles) {
      if (wanted.has(key)) continue;
      // A video element would go on playing after its removal.
      const video = tile.querySelector("video");
      if (video) video.srcObject = null;
      tile.remove();
      this.#tiles.delete(key);
      this.#sentBack.delete(key);
      this.#overPin.delete(key);
      if (this.#pinned === key) this.#pinned = null;
    }
    faces.forEach((face, index) => {
      const tile = this.#tiles.get(face.key) ?? this.#make(face);
      // The map has the order of the faces, and the layout the order of the map.
      this.#tiles.delete(face.key);
      this.#tiles.set(face.key, tile);
      // Move it only if it is in the wrong place: a move interrupts its video.
      if (this.#list.children[index] !== tile) this.#list.insertBefore(tile, this.#list.children[index] ?? null);
      this.#fill(tile, face);
    });
    this.#layOut({ moves: true });
  }

  async useSpeaker() {
    for (const tile of this.#tiles.values()) await useSpeaker(tile);
  }

  /**
   * The key of the tile in front: the screen that came last. A pinned tile is in front of the screens that were there
   * when the user pinned it, and returns to the front when a newer screen ends.
   */
  get #front() {
    const screens = [...this.#tiles.keys()].filter((key) => this.#isScreen(key) && !this.#sentBack.has(key));
    const newer = screens.filter((key) => this.#overPin.has(key));
    return newer.at(-1) ?? this.#pinned ?? screens.at(-1) ?? null;
  }

  /** @param {string} key */
  #isScreen(key) {
    return this.#tiles.get(key)?.dataset.sort === "screen";
  }

  /** @param {string} key */
  #pin(key) {
    if (this.#front === key) {
      if (this.#pinned === key) this.#pinned = null;
      this.#sentBack.add(key);
    } else {
      this.#pinned = key;
      this.#sentBack.delete(key);
      this.#overPin.clear();
    }
    this.#layOut({ moves: true });
    this.#drawPins();
  }

  /** @param {Face} face */
  #make({ key, testid, sort }) {
    const video = make("video", { autoplay: "", playsinline: "" });
    video.muted = sort !== "person";
    const pin = make(
      "button",
      { "type": "button", "class": "tile-button", "data-testid": `pin-${testid}` },
      icon("pin"),
    );
    const menu = make(
      "button",
      { "type": "button", "class": "tile-button", "data-testid": `menu-${testid}`, "aria-haspopup": "menu" },
      icon("more"),
    );
    const tile = make(
      "li",
      { "class": "tile", "data-testid": `tile-${testid}`, "data-sort": sort },
      video,
      make(
        "div",
        { class: "tile-face" },
        make("span", { "class": "avatar large", "aria-hidden": "true" }),
        make("p", { class: "placeholder-name" }),
        make("p", { class: "tile-words" }),
      ),
      make("div", { class: "tile-veil" }, icon("pause"), make("p", {})),
      make(
        "p",
        { class: "tile-name" },
        icon("mic-off"),
        icon("weak-signal"),
        icon("hand"),
        icon("host"),
        make("span", {}),
        make("span", { class: "sr-only" }),
        make("span", { "class": "bars", "aria-hidden": "true" }, make("i"), make("i"), make("i")),
      ),
      make("div", { class: "tile-buttons" }, pin, menu),
    );
    pin.addEventListener("click", () => this.#pin(key));
    menu.addEventListener("click", () => {
      const { participant = "", name = "", silent, picture, canBeHost } = tile.dataset;
      this.onMenu(
        {
          participant,
          name,
          pinned: this.#front === key,
          audio: silent !== "true",
          video: picture === "true",
          canBeHost: canBeHost === "true",
          pin: () => this.#pin(key),
        },
        menu,
      );
    });
    this.#arriving.add(key);
    if (sort === "screen") this.#overPin.add(key);
    void useSpeaker(tile);
    return tile;
  }

  /** @param {HTMLElement} tile @param {Face} face */
  #fill(tile, face) {
    const { participant, name, tracks, picture, state, veil, signal, silent, weak, speaking, words, manageable } = face;
    Object.assign(tile.dataset, {
      participant,
      name,
      state,
      picture: String(picture),
      silent: String(silent),
      weak: String(weak),
      speaking: String(speaking),
      signal: String(signal ?? ""),
    });
    const video = /** @type {HTMLVideoElement} */ (part(tile, "video"));
    showTracks(video, tracks);
    // Chromium does not always start playing by itself if tracks are replaced before the first frame.
    if (video.paused && video.srcObject) void video.play().catch(() => undefined);
    setText(part(tile, ".avatar"), initials(name));
    setText(part(tile, ".placeholder-name"), shortName(name));
    setText(part(tile, ".tile-words"), words);
    part(tile, ".tile-veil").hidden = !veil;
    if (veil) {
      setIcon(part(tile, ".tile-veil"), veil.icon);
      setText(part(tile, ".tile-veil p"), veil.words);
    }
    const short = shortName(name);
    const shown = face.sort === "screen" ? `${short}’s screen` : face.sort === "self" ? "You" : short;
    setText(part(tile, ".tile-name span"), shown);
    setText(
      part(tile, ".tile-name .sr-only"),
      [
        face.host ? ", host" : "",
        face.hand ? ", hand raised" : "",
        face.microphone ? (silent ? ", microphone off" : "") : ", no microphone",
        weak ? ", weak connection" : "",
        speaking ? ", speaking" : "",
        state === "invited" ? ", ringing" : "",
      ].join(""),
    );
    const shows = [silent, weak, face.hand, face.host];
    tile.querySelectorAll(".tile-name .icon").forEach((sign, at) => sign.toggleAttribute("hidden", !shows[at]));
    tile.dataset.hand = String(face.hand);
    tile.dataset.canBeHost = String(face.canBeHost);
    // A good signal needs no mention.
    part(tile, ".bars").hidden = signal === null || signal === 3;
    part(tile, ".bars").dataset.level = String(signal ?? 0);
    part(tile, ".tile-name").title = weak ? "Weak connection" : face.microphone ? "" : "No microphone";
    part(tile, ".tile-buttons").dataset.of = shown;
    part(tile, `[data-testid^="menu-"]`).hidden = !manageable;
    part(tile, `[data-testid^="menu-"]`).setAttribute("aria-label", `More for ${short}`);
  }

  #drawPins() {
    const front = this.#front;
    // A single tile is in front anyway.
    const pointless = this.#tiles.size < 2;
    for (const [key, tile] of this.#tiles) {
      const pin = part(tile, `[data-testid^="pin-"]`);
      const isFront = key === front;
      const words = `${isFront ? "Unpin" : "Pin"} ${part(tile, ".tile-buttons").dataset.of}`;
      pin.hidden = pointless;
      pin.setAttribute("aria-label", words);
      pin.title = words;
      setIcon(pin, isFront ? "unpin" : "pin");
      tile.dataset.front = String(isFront);
    }
  }

  /** @param {{moves: boolean}} options whether tiles glide to their new places */
  #layOut({ moves }) {
    const front = this.#tiles.size > 1 ? this.#front : null;
    const tiles = [...this.#tiles];
    const { clientWidth: width, clientHeight: height } = this.#list;
    const layout = JSON.stringify([tiles.map(([key]) => key), front, width, height]);
    if (layout === this.#laidOut) return;
    this.#laidOut = layout;
    this.#drawPins();
    const before = new Map(
      tiles.filter(([key]) => !this.#arriving.has(key)).map(([key, tile]) => [key, tile.getBoundingClientRect()]),
    );
    this.#arriving.clear();
    arrange(
      this.#list,
      tiles.map(([, tile]) => tile),
      front === null ? -1 : tiles.findIndex(([key]) => key === front),
    );
    if (!moves || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [key, tile] of tiles) glide(tile, before.get(key));
  }
}

/**
 * @param {Call} call
 * @param {SbeClient} client
 * @returns {Face[]}
 */
function facesOf(call, client) {
  const { others, me } = call;
  const isHost = me?.role === "host";
  const ownPicture = client.media.camera !== null || client.media.screen !== null;
  const faces = others.flatMap((other) => [
    person(other, call, { isHost, ownPicture }),
    ...(other.screen ? [screen(other)] : []),
  ]);
  // If there is only one other tile, this side's video is in that tile's corner.
  return faces.length > 1 ? [...faces, self(call, client)] : faces;
}

/**
 * @param {RemoteParticipant} other
 * @param {Call} call
 * @param {{isHost: boolean, ownPicture: boolean}} own whether this side is the host, and sends a picture
 * @returns {Face}
 */
function person(other, call, { isHost, ownPicture }) {
  const { id, username, audio, camera, muted, state, speaking, weak } = other;
  const isLive = state === "accepted" || state === "moving";
  const picture = camera !== null && isLive && !muted.video;
  const ringing = state === "invited";
  const connecting = call.connection !== "connected";
  const name = username || call.addresses[0]?.replace(/^tel:/, "") || "Somebody";
  const alone = call.others.length === 1;
  const paused = picture && !connecting && other.paused?.camera ? PAUSED : null;
  const trouble = state === "accepted" ? (troubleOf(other, call, shortName(name)) ?? paused) : null;
  return {
    key: id,
    participant: id,
    name,
    testid: username,
    sort: "person",
    tracks: [camera, audio],
    picture: picture && !connecting,
    state: state === "accepted" || state === "left" ? (trouble?.state ?? "") : state,
    veil: veilOf(state, alone ? shortName(name) : "") ?? (trouble && { icon: "no-signal", ...trouble }),
    signal: other.signal,
    silent: isSilent(other) && !ringing,
    microphone: !other.noMicrophone,
    weak: weak && isLive,
    speaking: speaking && isLive,
    words: ringing
      ? ringingWords(call, other)
      : connecting
        ? connectionWords(call)
        : muted.video
          ? "Camera turned off by the host"
          : camera || audio
            ? // In a grid, an avatar alone says that a camera is off.
              alone
              ? pictureless(call, other, ownPicture)
              : ""
            : "Connecting…",
    host: !alone && other.role === "host",
    hand: isLive && Boolean(other.handRaisedAt),
    manageable: isHost && !ringing,
    canBeHost: canBeHost(other),
  };
}

/**
 * While this side's own connection is broken, nothing arrives from anybody. That says nothing about the others.
 *
 * @param {RemoteParticipant} other @param {Call} call @param {string} name
 */
function troubleOf(other, call, name) {
  const trouble = troubleWords(other, name);
  return trouble?.state === "silent" && call.connection !== "connected" ? null : trouble;
}

/** @param {Call} call */
function connectionWords({ connection }) {
  return connection === "failed" || connection === "disconnected"
    ? "The connection is interrupted. Trying again…"
    : "Connecting…";
}

/** @param {RemoteParticipant} other @returns {Face} */
function screen({ id, username, screen: track, muted, paused }) {
  return {
    key: `${id} screen`,
    participant: id,
    name: username,
    testid: `${username}-screen`,
    sort: "screen",
    tracks: [track],
    picture: !muted.video,
    state: paused?.screen ? PAUSED.state : "",
    veil: paused?.screen ? PAUSED : null,
    signal: null,
    silent: false,
    microphone: true,
    weak: false,
    speaking: false,
    words: "The screen is not shown",
    host: false,
    hand: false,
    manageable: false,
    canBeHost: false,
  };
}

/**
 * Whether this side is the active speaker. While its devices are paused or muted, the last report may be old.
 *
 * @param {Call} call
 * @param {SbeClient["media"]} media
 */
export function isSpeaking(call, media) {
  const heard = !media.paused && !media.muted && media.microphone !== null;
  return heard && call.me !== null && call.me.id === call.speaker;
}

/** @param {Call} call @param {SbeClient} client @returns {Face} */
function self(call, { media, session }) {
  return {
    key: "self",
    participant: call.me?.id ?? "",
    name: session?.username ?? "You",
    testid: "self",
    sort: "self",
    tracks: [media.camera],
    // A camera that is on hold gives black pictures.
    picture: media.camera !== null && !media.paused,
    state: "",
    veil: null,
    signal: null,
    silent: media.muted || media.microphone === null,
    microphone: media.microphone !== null,
    weak: false,
    speaking: isSpeaking(call, media),
    words: "",
    host: call.others.length > 1 && call.me?.role === "host",
    hand: Boolean(call.me?.handRaisedAt),
    manageable: false,
    canBeHost: false,
  };
}

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {HTMLElement} tile
 * @param {string} selector
 */
function part(tile, selector) {
  return /** @type {T} */ (tile.querySelector(selector));
}

/** @param {HTMLElement} tile */
async function useSpeaker(tile) {
  const video = tile.querySelector("video");
  if (video && "setSinkId" in video) await video.setSinkId(preferences.speaker).catch(() => undefined);
}

/** @param {HTMLElement} tile @param {DOMRect | undefined} before where it was */
function glide(tile, before) {
  const now = tile.getBoundingClientRect();
  const timing = { duration: 220, easing: "cubic-bezier(0.2, 0, 0, 1)" };
  if (!before || before.width === 0) {
    tile.animate([{ opacity: 0, scale: 0.94 }, {}], timing);
    return;
  }
  const [x, y] = [before.left - now.left, before.top - now.top];
  if (Math.abs(x) + Math.abs(y) + Math.abs(before.width - now.width) < 2) return;
  tile.animate(
    [
      {
        transformOrigin: "0 0",
        transform: `translate(${x}px, ${y}px) scale(${before.width / now.width}, ${before.height / now.height})`,
      },
      { transformOrigin: "0 0", transform: "none" },
    ],
    timing,
  );
}
