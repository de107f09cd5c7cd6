/* The style of <sbe-call>. It becomes a constructed style sheet, which a Content-Security-Policy does not block. */

const DARK = `
    --_surface: light-dark(#fff, #191f1e);
    --_surface-2: light-dark(#ebefee, #2a3231);
    --_line: light-dark(#d8dfdd, #2c3534);
    --_text: light-dark(#131a19, #e8eeec);
    --_muted: light-dark(#53605e, #9daba8);
    --_accent: light-dark(#0d6a67, #6fd1c6);
    --_accent-ink: light-dark(#fff, #06211f);
    --_danger: light-dark(#c22f29, #d23f38);
`;

const CSS = `
:host {
  --_surface: #fff;
  --_surface-2: #ebefee;
  --_line: #d8dfdd;
  --_text: #131a19;
  --_muted: #53605e;
  --_accent: #0d6a67;
  --_accent-ink: #fff;
  --_danger: #c22f29;
  display: block;
  block-size: 460px;
  min-inline-size: 240px;
  min-block-size: 280px;
  container-type: inline-size;
  color: var(--sbe-text, var(--_text));
  font: 15px/1.45 var(--sbe-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif);
}
@supports (color: light-dark(#000, #fff)) {
  :host {${DARK}  }
}
:host([hidden]), [hidden] {
  display: none !important;
}
* {
  box-sizing: border-box;
}
.frame {
  position: relative;
  display: flex;
  flex-direction: column;
  block-size: 100%;
  overflow: hidden;
  border: 1px solid var(--sbe-line, var(--_line));
  border-radius: var(--sbe-radius, 16px);
  background: var(--sbe-surface, var(--_surface));
}
.panel {
  display: flex;
  flex: 1;
  flex-direction: column;
  align-items: center;
  justify-content: center;
  gap: 6px;
  min-block-size: 0;
  padding: 24px;
  text-align: center;
}
.title {
  max-inline-size: 100%;
  margin: 10px 0 0;
  font-size: 20px;
  font-weight: 600;
  letter-spacing: -0.01em;
  overflow-wrap: anywhere;
}
.detail {
  margin: 0;
  color: var(--sbe-muted, var(--_muted));
}
.choices {
  display: flex;
  flex-wrap: wrap;
  justify-content: center;
  gap: 10px;
  margin-block-start: 18px;
}
.avatar {
  display: grid;
  flex: none;
  place-items: center;
  inline-size: 84px;
  block-size: 84px;
  border-radius: 50%;
  background: color-mix(in srgb, var(--sbe-accent, var(--_accent)) 16%, transparent);
  color: var(--sbe-accent, var(--_accent));
  font-size: 30px;
  font-weight: 600;
}
.panel[data-state="ringing"] .avatar,
.panel[data-state="calling"] .avatar {
  animation: ring 1.8s ease-out infinite;
}
@keyframes ring {
  from {
    box-shadow: 0 0 0 0 color-mix(in srgb, var(--sbe-accent, var(--_accent)) 45%, transparent);
  }
  to {
    box-shadow: 0 0 0 22px transparent;
  }
}
button {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 8px;
  min-block-size: 44px;
  padding: 0 18px;
  border: 0;
  border-radius: 22px;
  background: var(--sbe-surface-2, var(--_surface-2));
  color: inherit;
  font: inherit;
  font-weight: 600;
  cursor: pointer;
  transition: filter 0.12s;
}
button:hover {
  filter: brightness(0.94);
}
button:active {
  filter: brightness(0.88);
}
button:disabled {
  opacity: 0.55;
  cursor: default;
}
button:focus-visible {
  outline: 3px solid var(--sbe-accent, var(--_accent));
  outline-offset: 2px;
}
button.primary {
  background: var(--sbe-accent, var(--_accent));
  color: var(--sbe-accent-ink, var(--_accent-ink));
}
button.danger {
  background: var(--sbe-danger, var(--_danger));
  color: #fff;
}
svg {
  flex: none;
  inline-size: 22px;
  block-size: 22px;
}
.stage {
  position: relative;
  display: flex;
  flex: 1;
  flex-direction: column;
  gap: 8px;
  min-block-size: 0;
  padding: 8px;
  container-type: size;
  background: var(--sbe-stage, #0c1110);
  color: #e8eeec;
}
.grid {
  display: grid;
  flex: 1;
  grid-auto-rows: minmax(0, 1fr);
  gap: 8px;
  min-block-size: 0;
}
/* One picture is at most 16:9, so that a wide element does not cut off the head. */
.grid[data-count="1"] > .tile {
  inline-size: 100%;
  max-inline-size: calc(100cqb * 16 / 9);
  justify-self: center;
}
/* The own tile lies in a corner of the picture. */
.grid[data-count="1"] .caption {
  max-inline-size: calc(100% - 128px);
}
.grid[data-count="2"], .grid[data-count="4"] {
  grid-template-columns: repeat(2, minmax(0, 1fr));
}
.grid[data-count="3"], .grid[data-count="many"] {
  grid-template-columns: repeat(3, minmax(0, 1fr));
}
.grid[data-screen] {
  grid-template-rows: minmax(0, 1fr);
  grid-auto-rows: minmax(64px, 22%);
}
.grid[data-screen][data-count="4"], .grid[data-screen][data-count="many"] {
  grid-template-columns: repeat(4, minmax(0, 1fr));
}
.grid > .screen {
  grid-column: 1 / -1;
}
.tile {
  position: relative;
  display: grid;
  place-items: center;
  min-inline-size: 0;
  min-block-size: 0;
  overflow: hidden;
  border-radius: calc(var(--sbe-radius, 16px) * 0.7);
  background: #1b2322;
}
.tile[data-speaking] {
  box-shadow: inset 0 0 0 3px #6fd1c6;
}
.tile .avatar {
  background: #2a3534;
  color: #9fe3da;
}
.tile video {
  position: absolute;
  inset: 0;
  inline-size: 100%;
  block-size: 100%;
  object-fit: cover;
  /* Cut off less of a head than of a desk. */
  object-position: 50% 30%;
}
.tile[data-speaking] video {
  inset: 3px;
  inline-size: calc(100% - 6px);
  block-size: calc(100% - 6px);
  border-radius: calc(var(--sbe-radius, 16px) * 0.7 - 3px);
}
.screen video {
  object-fit: contain;
  object-position: center;
}
.caption {
  position: absolute;
  inset-block-end: 8px;
  inset-inline-start: 8px;
  display: flex;
  align-items: center;
  gap: 5px;
  max-inline-size: calc(100% - 16px);
  padding: 2px 9px;
  border-radius: 10px;
  background: rgb(0 0 0 / 55%);
  color: #fff;
  font-size: 13px;
  font-weight: 600;
}
.caption span {
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}
.caption svg {
  inline-size: 15px;
  block-size: 15px;
}
.tile[data-veiled] .avatar {
  position: relative;
  translate: 0 -50%;
}
.tile[data-veiled]:not([data-picture]) .avatar {
  z-index: 1;
}
/* A picture without frames is transparent. */
.tile[data-veiled][data-picture] .avatar {
  visibility: hidden;
}
.veil {
  position: absolute;
  inset: 0;
  display: grid;
  place-items: center;
  padding: 12px;
  background: rgb(6 9 9 / 72%);
  color: #fff;
  font-weight: 600;
  text-align: center;
  text-wrap: balance;
}
/* The text is below the avatar, which ends in the middle. */
.tile:not([data-picture]) .veil {
  inset-block-start: 50%;
  place-items: start center;
  padding-block: 10px 0;
  background: none;
}
.own video {
  transform: scaleX(-1);
}
.pip {
  position: absolute;
  inset-block-end: 18px;
  inset-inline-end: calc(18px + max(0px, (100cqi - 100cqb * 16 / 9) / 2));
  inline-size: clamp(96px, 22cqi, 200px);
  aspect-ratio: 4 / 3;
  box-shadow: 0 0 0 2px rgb(255 255 255 / 14%), 0 6px 22px rgb(0 0 0 / 45%);
}
.pip .avatar, .grid[data-screen] > :not(.screen) .avatar {
  inline-size: 44px;
  block-size: 44px;
  font-size: 17px;
}
.pip .caption {
  inset-block-end: 5px;
  inset-inline-start: 5px;
  font-size: 12px;
}
.announcer {
  position: absolute;
  inline-size: 1px;
  block-size: 1px;
  overflow: hidden;
  clip-path: inset(50%);
}
.toolbar {
  display: flex;
  flex: none;
  justify-content: center;
  gap: 10px;
  padding: 10px 12px 12px;
  background: var(--sbe-stage, #0c1110);
  color: #e8eeec;
}
.toolbar button {
  flex: none;
  inline-size: 48px;
  block-size: 48px;
  padding: 0;
  border-radius: 50%;
  background: #2a3231;
}
.toolbar button:hover {
  filter: brightness(1.2);
}
.toolbar button:focus-visible {
  outline-color: #6fd1c6;
}
.toolbar button[data-active="true"] {
  background: #e8eeec;
  color: #131a19;
}
.toolbar .hangup {
  inline-size: 64px;
  border-radius: 24px;
  background: var(--sbe-danger, #d23f38);
  color: #fff;
}
.banner {
  display: flex;
  flex: none;
  flex-wrap: wrap;
  align-items: center;
  gap: 8px;
  padding: 8px 14px;
  border-block-end: 1px solid var(--sbe-line, var(--_line));
  font-weight: 600;
}
.banner > :first-child {
  flex: 1;
  min-inline-size: 9em;
  overflow-wrap: anywhere;
}
.banner button {
  min-block-size: 36px;
  padding: 0 14px;
}
.error {
  background: color-mix(in srgb, var(--sbe-danger, var(--_danger)) 12%, var(--sbe-surface, var(--_surface)));
}
/* In a wide element, the people are beside a screen. */
@container (inline-size >= 520px) {
  .grid[data-screen] {
    grid-template: repeat(2, minmax(0, 1fr)) / minmax(0, 1fr) clamp(120px, 20cqi, 220px);
    grid-auto-rows: minmax(0, 1fr);
  }
  .grid[data-screen][data-count="3"] {
    grid-template-rows: repeat(3, minmax(0, 1fr));
  }
  .grid[data-screen][data-count="4"] {
    grid-template: repeat(4, minmax(0, 1fr)) / minmax(0, 1fr) clamp(120px, 20cqi, 220px);
  }
  .grid[data-screen][data-count="many"] {
    grid-template: repeat(4, minmax(0, 1fr)) / minmax(0, 1fr) repeat(2, clamp(96px, 14cqi, 180px));
  }
  .grid > .screen {
    grid-column: auto;
  }
  .grid > .screen:first-child {
    grid-area: 1 / 1 / -1 / 2;
  }
}
@container (inline-size < 520px) {
  .grid:not([data-screen])[data-count="3"], .grid:not([data-screen])[data-count="many"] {
    grid-template-columns: repeat(2, minmax(0, 1fr));
  }
  .grid:not([data-screen])[data-count="3"] > :first-child {
    grid-column: 1 / -1;
  }
  .grid:not([data-count="1"]) .avatar {
    inline-size: 48px;
    block-size: 48px;
    font-size: 18px;
  }
  .toolbar {
    gap: 8px;
  }
  .pip {
    inset-block-end: 14px;
    inset-inline-end: calc(14px + max(0px, (100cqi - 100cqb * 16 / 9) / 2));
    inline-size: 96px;
  }
}
@container (inline-size < 330px) {
  .toolbar {
    gap: 5px;
    padding-inline: 6px;
  }
  .toolbar button {
    inline-size: 42px;
    block-size: 42px;
  }
  .toolbar .hangup {
    inline-size: 50px;
  }
}
@media (prefers-reduced-motion: reduce) {
  * {
    animation: none !important;
    transition: none !important;
  }
}
`;

/** @type {CSSStyleSheet | null} */
let sheet = null;

/** Return the style sheet, which all elements share. */
export function styleSheet() {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
