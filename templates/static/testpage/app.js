import { SbeClient } from "../sbe/sbe-client.js";
import { Actions } from "./actions.js";
import { ChatDrawer } from "./chat-drawer.js";
import { connectControls } from "./controls.js";
import { DeviceMenu } from "./device-menu.js";
import { byId } from "./dom.js";
import { EndScreen } from "./end-screen.js";
import { InviteDialog } from "./invite-dialog.js";
import { JoinLink } from "./join-link.js";
import { LeaveDialog, canGoOn } from "./leave-dialog.js";
import { MissedCalls } from "./missed-calls.js";
import { ModificationDialog } from "./modification-dialog.js";
import { MoveDialog } from "./move-dialog.js";
import { showNotices } from "./notices.js";
import { People } from "./people.js";
import { PeoplePanel } from "./people-panel.js";
import { prefer } from "./preferences.js";
import { Presenting } from "./presenting.js";
import { Preview } from "./preview.js";
import { QualityChart } from "./quality.js";
import { Registration } from "./registration.js";
import { RingDialog } from "./ring.js";
import { Settings } from "./settings.js";
import { Stage } from "./stage.js";
import { TileMenu } from "./tile-menu.js";
import { Timeline } from "./timeline.js";
import { announce, clearToasts, sweepToasts, toast } from "./toasts.js";
import { View } from "./view.js";

/*
 * The test page. This file connects the parts of the page. Each part draws some of SbeClient's state and passes on the
 * user's actions. SbeClient itself makes the calls.
 */

const { enablerUrl = location.origin, devServerUrl = "/dev" } = document.body.dataset;
/** @type {SbeClient} */
const client = new SbeClient({
  devServer: new URL(devServerUrl, location.href).href,
  enabler: enablerUrl,
  // A computer that slept has lost its session. Register it again without asking.
  onTokenNeeded: ({ idempotencyKey: _, ...identity }) => client.newSession(identity),
});
const link = new JoinLink(client.remembered?.username ?? null);
document.body.toggleAttribute("data-guest", link.isGuest);
const actions = new Actions(client, link, { onStart: () => people.clear(), onDone: draw });
const registration = new Registration(client, (error) => actions.complain(error));
const view = new View(client, link, () => void Promise.all([lookAround(), missed.look()]));

const timeline = new Timeline();
const chat = new ChatDrawer({
  onUnseen: (name) => announce(`${name} wrote in the chat`),
});
const menu = new TileMenu((deed, { participant }) => actions.manage(deed, participant));
const stage = new Stage(client, menu, link);
const presenting = new Presenting(client);
const preview = new Preview(client, link, {
  onJoin: (guest) => actions.joinLinked(guest).finally(draw),
  onTrouble: (error) => actions.complain(error),
  onBack: () => {
    link.forget();
    draw();
  },
});
const leaveDialog = new LeaveDialog({
  onLeave: (successor) => void actions.attempt(() => actions.leave(successor)),
  onEnd: () => actions.begin((call) => call.hangUp({ forAll: true })),
});
const quality = new QualityChart((reading) => stage.onQuality(reading));
const invite = new InviteDialog(client, {
  onInvite: (to) => actions.attempt(() => actions.call.inviteMore(to)),
  onCopy: (text) => actions.copy(text),
  isGuest: link.isGuest,
});
const peoplePanel = new PeoplePanel(client.media, {
  begin: (change) => actions.begin(change),
  onMenu: (target, button) => menu.open(target, button),
  onInvite: () => invite.open(),
  onNews: announce,
  onKnock: (text, { open, waits }) =>
    toast(text, { subject: "knock", holds: waits, action: { label: "View", act: open } }),
  onKnocksSeen: sweepToasts,
});
const endScreen = new EndScreen((send) => void actions.attempt(send));
const people = new People((to, options) => void actions.attempt(() => actions.start(to, options)));
const missed = new MissedCalls(client, (to) => void actions.attempt(() => actions.start(to, { video: false })));
const ring = new RingDialog(client.media, {
  onAccept: (invitation, wanted) => void actions.attempt(() => actions.accept(invitation, wanted)),
  onDecline: ({ confId }) => void actions.attempt(() => client.decline(confId)),
  onToneSwitch: () => view.sound(),
});
const modificationDialog = new ModificationDialog((accepted) =>
  actions.attempt(() => (accepted ? actions.call.accept() : actions.call.reject())),
);
const moveDialog = new MoveDialog(client, {
  onMove: (devices) => void actions.attempt(() => moveCall(devices)),
  onCopy: () => actions.copy(moveDialog.link),
});
const deviceMenu = new DeviceMenu(changeDevice);
new Settings(client, {
  onDevice: changeDevice,
  onSignOff: () => void actions.attempt(() => client.unregister()),
});
connectControls(client, actions, {
  onMove: () => moveDialog.open(),
  onHangUp: () => {
    const call = client.currentCall;
    if (call && canGoOn(call)) leaveDialog.open();
    else actions.begin((call) => call.hangUp());
  },
  onQuality: () => timeline.open(),
  onPressed: draw,
});

/** The hook for tests and the console: the client, and the current peer connection. */
Object.assign(window, {
  sbe: {
    client,
    get pc() {
      return client.currentCall?.leg?.pc ?? null;
    },
  },
});

/** @param {import("./settings.js").DeviceName} name @param {string} deviceId empty for the system's default */
function changeDevice(name, deviceId) {
  prefer({ [name]: deviceId });
  void actions.attempt(() => (name === "speaker" ? stage.useSpeaker() : actions.changeDevice(name, deviceId)));
}

/** @param {string[]} devices that will ring */
async function moveCall(devices) {
  stage.ringing = devices;
  await actions.call.move();
}

// ── drawing ───────────────────────────────────────────────────────────────

let loaded = false;
let drawnState = client.callState;

function draw() {
  const call = client.currentCall;
  if (client.callState !== drawnState && client.callState === "ended") clearToasts();
  drawnState = client.callState;
  const { inCall } = actions;
  view.drawHead(loaded);
  stage.draw();
  presenting.draw(call);
  leaveDialog.draw(inCall ? call : null);
  chat.draw(call);
  peoplePanel.draw(call);
  endScreen.draw(call, client.session !== null);
  invite.draw(call);
  if (!inCall) {
    menu.close();
    deviceMenu.close();
  }
  quality.follow(call && call.state !== "ended" && call.connection !== "closed" ? (call.leg?.pc ?? null) : null);
  modificationDialog.show(call);
  moveDialog.show(inCall);
  ring.show(client.invitations, inCall);
  preview.draw(document.body.dataset.view === "preview");
  sweepToasts();
  view.drawFoot();
}

function drawChannel() {
  view.drawChannel();
}

/** Show the registered users, while the lobby is visible. */
async function lookAround() {
  if (client.session === null || document.hidden || view.shown !== "lobby") return;
  try {
    const sessions = await client.people();
    if (client.session) people.show(sessions, client.session);
  } catch {
    // Keep showing the last list. The channel's state shows that the server cannot be reached.
  }
}

client.on("session", () => {
  draw();
  if (!link.isGuest) void missed.look();
  drawChannel();
});
client.on("channel", drawChannel);
client.on("call", draw);
client.on("media", draw);
client.on("invitations", draw);
client.on("chat", draw);
client.on("trace", (trace) => timeline.add(trace));
client.on("notice", ({ code }) => {
  if (code === "invitation-cancelled" && !link.isGuest) void missed.look();
});
showNotices(client);
client.media.on("change", draw);
byId("banner-resume").onclick = () => client.resumeEvents();
addEventListener("pagehide", ({ persisted }) => {
  if (!persisted) client.farewell();
});
document.addEventListener("visibilitychange", () => void lookAround());

// Until the user presses a key, no ring marks the elements that the page itself focuses.
document.documentElement.dataset.untouched = "";
addEventListener("keydown", () => delete document.documentElement.dataset.untouched, { once: true });

// ── time ──────────────────────────────────────────────────────────────────

const LOOK_EVERY_S = 3;
let seconds = 0;
setInterval(() => {
  seconds += 1;
  stage.tick();
  modificationDialog.tick();
  void quality.tick();
  if (seconds % LOOK_EVERY_S === 0) void Promise.all([lookAround(), moveDialog.look(), invite.look()]);
}, 1_000);

await registration.start();
loaded = true;
draw();
void stage.useSpeaker();
