// Keeps the list current: requests its live part and replaces only the rows that changed, so that
// focus, selection and scroll position stay unchanged.
import { clock, refreshAll, serverNow, setServerTime } from "./ago.js";

const INTERVAL_MS = 5000;
const TIMEOUT_MS = 8000;

const state = document.getElementById("live-state");
const label = document.getElementById("live-words");
const announcer = document.getElementById("live-news");
const pause = document.getElementById("live-pause");
let etag = null;
let updatedAt = serverNow();
let problem = null;
let paused = false;
let timer = null;

function show() {
  if (!label) return;
  const kind = paused ? "paused" : problem ? "lost" : "on";
  state.className = `live live-${kind}`;
  const seconds = Math.max(0, Math.round((serverNow() - updatedAt) / 1000));
  const text = {
    paused: `Paused, showing data of ${clock(updatedAt)} UTC`,
    lost: `${problem}, showing data of ${clock(updatedAt)} UTC`,
    on: seconds < 2 ? "Live, updated just now" : `Live, updated ${seconds} s ago`,
  }[kind];
  if (label.textContent !== text) label.textContent = text;
}

// The first visible row and its position. It must not move when rows are inserted above it.
function anchor() {
  if (window.scrollY < 4) return null;
  for (const row of document.querySelectorAll("#rows > tr")) {
    const top = row.getBoundingClientRect().top;
    if (top >= 0) return { id: row.id, top };
  }
  return null;
}

// The focused element, described so that it can be found after its row was replaced.
function focus() {
  const element = document.activeElement;
  const row = element?.closest?.("#rows > tr");
  return row ? { id: row.id, link: [...row.querySelectorAll("a")].indexOf(element) } : { id: element?.id };
}

function restore(seen, focused) {
  const row = seen && document.getElementById(seen.id);
  if (row) window.scrollBy({ top: row.getBoundingClientRect().top - seen.top, behavior: "instant" });
  const holder = focused.id && document.getElementById(focused.id);
  const target = focused.link === undefined ? holder : holder?.querySelectorAll("a")[focused.link];
  if (target && target !== document.activeElement) target.focus({ preventScroll: true });
}

function mergeRows(current, incoming) {
  const added = [];
  let position = current.firstElementChild;
  for (const row of [...incoming.children]) {
    const known = document.getElementById(row.id);
    if (known?.dataset.version === row.dataset.version) {
      if (known === position) position = known.nextElementSibling;
      else current.insertBefore(known, position);
      continue;
    }
    row.classList.add(known ? "is-changed" : "is-new");
    if (!known) added.push(row);
    if (known === position) position = known.nextElementSibling;
    known?.remove();
    current.insertBefore(row, position);
  }
  while (position) {
    const next = position.nextElementSibling;
    position.remove();
    position = next;
  }
  return added;
}

function replace(id, incoming) {
  const current = document.getElementById(id);
  const other = incoming.querySelector(`#${id}`);
  if (current && other && !current.isEqualNode(other)) current.replaceWith(other);
}

function merge(html) {
  const incoming = new DOMParser().parseFromString(html, "text/html").getElementById("live");
  const live = document.getElementById("live");
  const seen = anchor();
  const focused = focus();
  const rows = document.getElementById("rows");
  const newRows = incoming.querySelector("#rows");
  let added = [];
  if (rows && newRows) {
    added = mergeRows(rows, newRows);
    for (const tile of incoming.querySelectorAll(".tile")) replace(tile.id, incoming);
    replace("found", incoming);
    replace("pages", incoming);
  } else {
    added = newRows ? [...newRows.children] : [];
    for (const row of added) row.classList.add("is-new");
    live.replaceChildren(...incoming.childNodes);
  }
  setServerTime(incoming.dataset.now);
  restore(seen, focused);
  if (added.length) announcer.textContent = added.length === 1 ? "1 new alert" : `${added.length} new alerts`;
}

async function update() {
  const headers = etag ? { "If-None-Match": etag } : {};
  try {
    const answer = await fetch(state.dataset.url, {
      headers, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.status === 401) return window.location.reload();
    if (answer.status === 200) {
      const html = await answer.text();
      if (paused) return undefined;
      merge(html);
      etag = answer.headers.get("ETag");
    } else if (answer.status !== 304) {
      const reason = answer.headers.get("Content-Type")?.startsWith("text/plain") ? await answer.text() : "";
      problem = reason ? `Alerts cannot be loaded: ${reason}` : "The dashboard does not respond";
      return undefined;
    }
    problem = null;
    updatedAt = serverNow();
  } catch {
    problem = "Connection lost";
  }
  return undefined;
}

async function poll() {
  clearTimeout(timer);
  timer = null;
  if (paused || document.hidden) return;
  await update();
  show();
  refreshAll();
  clearTimeout(timer);
  timer = setTimeout(poll, INTERVAL_MS);
}

setServerTime(document.getElementById("live").dataset.now);
updatedAt = serverNow();
setInterval(() => {
  refreshAll();
  show();
}, 1000);

if (state.dataset.on === "1") {
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    show();
    if (!paused) poll();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) poll();
  });
  timer = setTimeout(poll, INTERVAL_MS);
  show();
}
