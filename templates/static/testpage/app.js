import { CallOver, Refusal, SbeClient, SbeError } from "../sbe/sbe-client.js";
import { ChatDrawer } from "./chat-drawer.js";
import { byId, setText } from "./dom.js";
import { InviteDialog, linkTo } from "./invite-dialog.js";
import { openMedia } from "./media-access.js";
import { ModificationDialog } from "./modification-dialog.js";
import { MoveDialog } from "./move-dialog.js";
import { People } from "./people.js";
import { preferences } from "./preferences.js";
import { QualityChart } from "./quality.js";
import { RingDialog } from "./ring.js";
import { Settings } from "./settings.js";
import { Stage, nameOf } from "./stage.js";
import { TileMenu } from "./tile-menu.js";
import { Timeline } from "./timeline.js";
import { announce, toast } from "./toasts.js";
import { play } from "./tones.js";
import { channelWords, errorWords, fieldWords, noticeWords } from "./words.js";

/** @typedef {import("../sbe/call.js").Call} Call */

/*
 * The test page: it draws what SbeClient knows and hands on what people press. All of the calling is in SbeClient.
 */

const { enablerUrl = location.origin, devServerUrl = "/dev" } = document.body.dataset;
const client = new SbeClient({ devServer: new URL(devServerUrl, location.href).href, enabler: enablerUrl });
const query = new URLSearchParams(location.search);

const timeline = new Timeline(() => chat.toggle(false, { focus: false }));
const chat = new ChatDrawer({
  onOpen: () => timeline.hide(),
  onUnseen: (name) => announce(`${name} wrote in the chat`),
});
const menu = new TileMenu((deed, { participant }) => begin((call) => manage(call, deed, participant)));
const stage = new Stage(client, menu);
const invite = new InviteDialog(client, {
  onInvite: (to) => attempt(() => currentCall().inviteMore(to)),
  onCopy: copy,
});
const people = new People((to, options) => void attempt(() => startCall(to, options)));
const quality = new QualityChart((reading) => stage.onQuality(reading));
new Settings(client, {
  onDevice: (name) => void attempt(() => changeDevice(name)),
  onSignOff: () => void attempt(() => client.unregister()),
});
const ring = new RingDialog({
  onAccept: (invitation, { camera }) => void attempt(() => acceptCall(invitation, camera)),
  onDecline: ({ confId }) => void attempt(() => client.decline(confId)),
  onToneSwitch: () => sound(),
});
const modificationDialog = new ModificationDialog((accepted) =>
  attempt(() => (accepted ? currentCall().accept() : currentCall().reject())),
);
const moveDialog = new MoveDialog(client, {
  onMove: (devices) => void attempt(() => moveCall(devices)),
  onCopy: () => copy(moveDialog.link),
});

/** The hook for tests and the console: the client, and the peer connection of the moment. */
Object.assign(window, {
  sbe: {
    client,
    get pc() {
      return client.currentCall?.leg?.pc ?? null;
    },
  },
});

// ── what people do ────────────────────────────────────────────────────────

/** One thing at a time: a second press while the first is on its way does nothing. */
let busy = false;

/** @param {() => Promise<unknown> | unknown} action whose failure is told in words */
async function attempt(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } catch (error) {
    complain(error);
  } finally {
    busy = false;
    draw();
  }
}

/** Whoever has hung up does not care what became of the rest. @param {unknown} error */
function complain(error) {
  if (!(error instanceof CallOver)) toast(errorWords(error), { bad: true });
}

/**
 * Starts a change of the call. It may wait half a minute for the other side, and the page stays usable meanwhile.
 *
 * @param {(call: Call) => Promise<unknown>} change
 */
function begin(change) {
  const begun = async () => change(currentCall());
  begun().catch(complain);
}

function currentCall() {
  const call = client.currentCall;
  if (call === null || call.state === "ended") throw new SbeError("There is no call.");
  return call;
}

/** @param {string} text */
function copy(text) {
  void attempt(async () => {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  });
}

/** @param {string[]} to @param {{video: boolean, topology?: import("../sbe/call.js").Topology}} options */
async function startCall(to, { video, topology = preferences.direct && to.length === 1 ? "peer" : "focus" }) {
  if (!(await openMedia(client.media, { camera: video }))) return;
  people.clear();
  await orNoCall(() => client.startConference({ to, video, topology }));
}

async function startOpenConference() {
  if (await openMedia(client.media, { camera: true })) await orNoCall(() => client.startConference({ access: "open" }));
}

/** The conference that this page's address names, until it was joined. */
let linked = query.get("join");

/** @param {{camera: boolean}} options */
async function joinLinked({ camera }) {
  const confId = linked;
  if (confId === null || !(await openMedia(client.media, { camera }))) return;
  try {
    await orNoCall(() => client.join(confId));
    forgetLink();
  } catch (error) {
    // It is over, or was never there: asking again would be of no use.
    if (error instanceof Refusal && error.status === 404) forgetLink();
    throw error;
  }
}

/** The address is that of a plain page again: a reload finds the seat by itself. */
function forgetLink() {
  linked = null;
  const here = new URL(location.href);
  here.searchParams.delete("join");
  history.replaceState(null, "", here);
}

/** @param {() => Promise<void>} action */
async function orNoCall(action) {
  try {
    await action();
  } catch (error) {
    // There never was a call to look at: say why here, where it was asked for.
    client.dismiss();
    throw error;
  }
}

/** @param {Call} call @param {import("./tile-menu.js").Deed} deed @param {string} participant its ID */
async function manage(call, deed, participant) {
  if (deed === "remove") return call.removeParticipant(participant);
  await call.muteParticipant(participant, deed === "mute" ? { audio: true } : { video: true });
}

/** @param {import("../sbe/client.js").Invitation} invitation @param {boolean} camera */
async function acceptCall({ confId, username, video }, camera) {
  const own = client.unansweredCall;
  if (inCall() && !own) await currentCall().hangUp();
  if (!camera) client.media.close("camera");
  try {
    // Without a camera of one's own the other side's picture is still wanted.
    if (await openMedia(client.media, { camera })) await client.answer(confId, { video });
  } catch (error) {
    // Both called, both pressed accept, and the other side was first: this page's own call is the one that goes on.
    const crossed =
      own !== null && nameOf(own) === username && error instanceof Refusal && error.code === "not-ringing";
    if (!crossed || own.state === "ended") throw error;
  }
}

/** @param {string[]} devices that will ring */
async function moveCall(devices) {
  stage.ringing = devices;
  await currentCall().move();
}

/** @param {"camera" | "microphone" | "speaker"} name */
async function changeDevice(name) {
  if (name === "speaker") return stage.useSpeaker();
  if (client.media[name] === null) return;
  client.media.close(name);
  await (name === "camera" ? client.media.openCamera() : client.media.openMicrophone());
}

function inCall() {
  return client.currentCall !== null && !["ended", "moved"].includes(client.currentCall.state);
}

const controls = {
  "btn-mic": () => begin((call) => call.mute({ audio: !client.media.muted })),
  "btn-camera": () => begin((call) => (client.media.camera ? call.stopVideo() : call.addVideo())),
  "btn-screen": () => begin((call) => (client.media.screen ? call.stopScreen() : call.shareScreen())),
  "btn-hold": () => begin((call) => (call.state === "on-hold" ? call.resume() : call.hold())),
  "btn-move": () => moveDialog.open(),
  "btn-hangup": () => begin((call) => call.hangUp()),
  "overlay-resume": () => begin((call) => call.resume()),
  "mod-cancel": () => begin((call) => call.cancel()),
  "moved-done": () => client.dismiss(),
  "ended-done": () => client.dismiss(),
  "ended-again": () => {
    const call = client.currentCall;
    if (call)
      void attempt(() =>
        startCall(call.addresses.length > 0 ? call.addresses : [nameOf(call)], {
          video: true,
          topology: call.topology,
        }),
      );
  },
  "open-start": () => attempt(startOpenConference),
  "join-video": () => attempt(() => joinLinked({ camera: true })),
  "join-audio": () => attempt(() => joinLinked({ camera: false })),
  "lonely-copy": () => copy(linkTo(client.currentCall)),
  "rejoin-join": () =>
    attempt(async () => void ((await openMedia(client.media, { camera: true })) && (await client.rejoin()))),
  "rejoin-leave": () => attempt(() => client.leave()),
  "tag-quality": () => timeline.toggle(true),
};
for (const [id, action] of Object.entries(controls)) {
  byId(id).addEventListener("click", ({ currentTarget }) => {
    if (currentTarget instanceof Element && currentTarget.ariaDisabled === "true") return;
    void action();
    draw();
  });
}

const KEYS = new Map(
  Object.entries({
    m: "btn-mic",
    v: "btn-camera",
    s: "btn-screen",
    h: "btn-hold",
    c: "btn-chat",
    e: "btn-hangup",
    t: "btn-timeline",
  }),
);
document.addEventListener("keydown", (event) => {
  const inField = event.target instanceof Element && event.target.closest("input, select, textarea, dialog") !== null;
  // Single keys can be switched off (WCAG 2.1.4), and belong to a field or a dialog while one is in use.
  if (!preferences.keys || inField || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = document.getElementById(KEYS.get(event.key.toLowerCase()) ?? "");
  if (button?.checkVisibility()) button.click();
});

// ── registering ───────────────────────────────────────────────────────────

const form = /** @type {HTMLFormElement} */ (byId("register-form"));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void register();
});

async function register() {
  const field = (/** @type {string} */ name) => String(new FormData(form).get(name) ?? "").trim();
  const submit = /** @type {HTMLButtonElement} */ (byId("register-submit"));
  showRefusal({});
  if (!field("username")) return showRefusal({ username: "Enter a name." });
  submit.disabled = true;
  try {
    await client.register({
      username: field("username"),
      device: field("device") || guessDevice(),
      ...(field("vtn") ? { vtn: field("vtn") } : {}),
      ...(field("icmn") ? { icmn: field("icmn") } : {}),
    });
  } catch (reason) {
    const errors = reason instanceof Refusal ? fieldWords(reason) : {};
    showRefusal(Object.keys(errors).length > 0 ? errors : { form: errorWords(reason) });
  } finally {
    submit.disabled = false;
  }
}

/** @param {Record<string, string>} words by field, and under `form` what belongs to none */
function showRefusal(words) {
  const say = (/** @type {HTMLElement} */ place, /** @type {string | undefined} */ text) => {
    setText(place, text ?? "");
    place.hidden = text === undefined;
  };
  say(byId("register-error"), words["form"]);
  const wrong = ["username", "device", "vtn", "icmn"].map((name) => {
    const input = /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
    say(byId(`${name}-error`), words[name]);
    input.setAttribute("aria-invalid", String(words[name] !== undefined));
    return words[name] === undefined ? [] : [input];
  });
  const [first] = wrong.flat();
  const folded = first?.closest("details");
  if (folded) folded.open = true;
  first?.focus();
}

function guessDevice() {
  if (/iPad|Tablet/.test(navigator.userAgent)) return "tablet";
  return /Mobi|Android|iPhone/.test(navigator.userAgent) ? "phone" : "computer";
}

async function start() {
  for (const [key, name] of Object.entries({ user: "username", device: "device", vtn: "vtn", icmn: "icmn" })) {
    const input = /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
    // A plus in a query is a space; a number that was not escaped is meant all the same.
    input.value = (query.get(key) ?? "").replace(/^ (?=\d)/, "+");
  }
  /** @type {HTMLInputElement} */ (byId("register-device")).placeholder = guessDevice();
  const user = query.get("user");
  const remembered = client.remembered;
  const same =
    remembered !== null &&
    (user === null || user === remembered.username) &&
    [null, remembered.device ?? ""].includes(query.get("device"));
  try {
    if (same && (await client.restore())) return;
    // The idle session of a page that was reloaded is over; the person is still the same.
    if (same) return await client.register(remembered);
  } catch (error) {
    complain(error);
  }
  if (user) await register();
}

// ── what is seen ──────────────────────────────────────────────────────────

/** @type {ReturnType<typeof setTimeout> | undefined} */
let bannerTimer;
let drawn = "";
let started = false;

function draw() {
  const call = client.currentCall;
  const view = started ? (call ? "call" : client.session ? "lobby" : "register") : "loading";
  document.body.dataset.view = view;
  document.body.toggleAttribute("data-registered", client.session !== null);
  byId("view-register").hidden = view !== "register";
  byId("view-lobby").hidden = view !== "lobby";
  byId("view-call").hidden = view !== "call";
  byId("channel-state").hidden = client.session === null;
  byId("identity").hidden = client.session === null;
  setText(byId("identity-name"), client.session?.username ?? "");
  setText(byId("identity-device"), client.session?.device ?? "");

  byId("rejoin").hidden = client.rejoinable === null;
  if (client.rejoinable) {
    const others = client.rejoinable.participants.filter(
      ({ sessionId, state }) => sessionId !== client.session?.id && state !== "left",
    );
    setText(
      byId("rejoin-title"),
      others.length > 1
        ? `You are in a conference of ${others.length + 1}`
        : `You are in a call with ${others[0]?.username ?? "someone"}`,
    );
  }

  setText(
    byId("register-lead"),
    linked === null
      ? "Register this browser as one of a person’s devices. Then call anyone else who is here."
      : "Register this browser, then come into the conference that you have the link to.",
  );
  byId("join").hidden = linked === null || client.rejoinable !== null;
  stage.draw();
  chat.draw(call);
  invite.draw(call);
  if (!inCall()) menu.close();
  quality.follow(
    call && call.state !== "ended" && call.leg && call.leg.pc.connectionState !== "closed" ? call.leg.pc : null,
  );
  modificationDialog.show(call);
  moveDialog.show(inCall());
  ring.show(client.invitations, inCall());
  sound();
  retitle(call);
  if (view !== drawn) onView(view);
}

/** @param {string} view that has just come up */
function onView(view) {
  const before = drawn;
  drawn = view;
  if (view === "register") byId("register-name").focus();
  if (view === "lobby") void lookAround();
  if (view === "call" || (view === "lobby" && before === "call")) byId("main").focus();
}

function sound() {
  const calling = client.callState === "calling" && client.currentCall?.confId !== null;
  play(!preferences.ring ? null : client.invitations.length > 0 ? "incoming" : calling ? "waiting" : null);
}

let announced = "";

/** @param {Call | null} call */
function retitle(call) {
  const [ringing] = client.invitations;
  const name = call ? nameOf(call) : "";
  const alone = call !== null && call.hasFocus && call.others.length === 0;
  /** @type {Record<string, string>} */
  const states = {
    "calling": alone ? "Waiting for somebody to come in" : `Calling ${name}`,
    "open": alone ? "Alone in the conference" : `In a call with ${name}`,
    "on-hold": `${call?.others.length === 1 ? name : "The conference"} is on hold`,
    "held": `On hold by ${name}`,
    "moving": "Moving the call",
    "moved": "Call moved",
    "ended": "Call ended",
  };
  const title = ringing ? `${ringing.username} is calling` : call ? states[call.state] : "";
  document.title = title ? `${title} – SBE Enabler` : "SBE Enabler";
  if (title !== announced) announce(title);
  announced = title;
}

function drawChannel() {
  const state = client.channelState;
  byId("channel-state").dataset.state = state;
  setText(byId("channel-word"), channelWords(state));
  clearTimeout(bannerTimer);
  const isReplaced = state === "replaced";
  byId("banner-spinner").hidden = isReplaced;
  byId("banner-resume").hidden = !isReplaced;
  if (isReplaced)
    setText(byId("banner-text"), "Too many other connections use this registration. Calls do not reach this page.");
  byId("banner").hidden = !isReplaced;
  if (state !== "offline" || client.session === null) return;
  // A reconnection of a moment is shown by the dot alone.
  bannerTimer = setTimeout(() => {
    setText(
      byId("banner-text"),
      inCall()
        ? "The server cannot be reached. Your call goes on; reconnecting…"
        : "The server cannot be reached. Reconnecting…",
    );
    byId("banner").hidden = false;
  }, 1_500);
}

const LOOK_EVERY_S = 3;

async function lookAround() {
  if (client.session === null || document.hidden || drawn !== "lobby") return;
  try {
    const sessions = await client.people();
    if (client.session) people.show(sessions, client.session);
  } catch {
    // The channel's state shows that the server is away; the last list stays.
  }
}

client.on("session", () => {
  draw();
  drawChannel();
});
client.on("channel", drawChannel);
byId("banner-resume").onclick = () => client.resumeEvents();
client.on("call", draw);
client.on("media", draw);
client.on("invitations", draw);
client.on("chat", draw);
client.on("trace", (trace) => timeline.add(trace));
client.on("notice", (notice) => {
  const words = noticeWords(notice, client.currentCall ? nameOf(client.currentCall) : "The other side");
  if (words) toast(words.text, words);
});
client.media.on("change", draw);
addEventListener("pagehide", ({ persisted }) => {
  if (!persisted) client.farewell();
});
document.addEventListener("visibilitychange", () => void lookAround());

let seconds = 0;
setInterval(() => {
  seconds += 1;
  stage.tick();
  modificationDialog.tick();
  void quality.tick();
  if (seconds % LOOK_EVERY_S === 0) void Promise.all([lookAround(), moveDialog.look(), invite.look()]);
}, 1_000);

await start();
started = true;
draw();
void stage.useSpeaker();
