// Keeps the list current: asks for its changing part, and puts in only what differs, so that
// focus, selection and scroll stay where they are.
import { clock, refreshAll, serverNow, setServerTime } from "./ago.js";

const EVERY_MS = 5000;
const PATIENCE_MS = 8000;

const state = document.getElementById("live-state");
const words = document.getElementById("live-words");
const news = document.getElementById("live-news");
const pause = document.getElementById("live-pause");
let etag = null;
let updatedAt = serverNow();
let trouble = null;
let paused = false;
let timer = null;

function show() {
  if (!words) return;
  const kind = paused ? "paused" : trouble ? "lost" : "on";
  state.className = `live live-${kind}`;
  const seconds = Math.max(0, Math.round((serverNow() - updatedAt) / 1000));
  const text = {
    paused: `Paused, showing data of ${clock(updatedAt)} UTC`,
    lost: `${trouble}, showing data of ${clock(updatedAt)} UTC`,
    on: seconds < 2 ? "Live, updated just now" : `Live, updated ${seconds} s ago`,
  }[kind];
  if (words.textContent !== text) words.textContent = text;
}

// The first row that can be seen, and where: it must not move when rows come in above it.
function anchor() {
  if (window.scrollY < 4) return null;
  for (const row of document.querySelectorAll("#rows > tr")) {
    const top = row.getBoundingClientRect().top;
    if (top >= 0) return { id: row.id, top };
  }
  return null;
}

// What has the focus, in words that still hold when its row was replaced.
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
  const fresh = [];
  let place = current.firstElementChild;
  for (const row of [...incoming.children]) {
    const known = document.getElementById(row.id);
    if (known?.dataset.version === row.dataset.version) {
      if (known === place) place = known.nextElementSibling;
      else current.insertBefore(known, place);
      continue;
    }
    row.classList.add(known ? "is-changed" : "is-new");
    if (!known) fresh.push(row);
    if (known === place) place = known.nextElementSibling;
    known?.remove();
    current.insertBefore(row, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
  return fresh;
}

function replace(id, incoming) {
  const current = document.getElementById(id);
  const other = incoming.querySelector(`#${id}`);
  if (current && other && !current.isEqualNode(other)) current.replaceWith(other);
}

function put(html) {
  const incoming = new DOMParser().parseFromString(html, "text/html").getElementById("live");
  const live = document.getElementById("live");
  const seen = anchor();
  const focused = focus();
  const rows = document.getElementById("rows");
  const newRows = incoming.querySelector("#rows");
  let fresh = [];
  if (rows && newRows) {
    fresh = mergeRows(rows, newRows);
    for (const tile of incoming.querySelectorAll(".tile")) replace(tile.id, incoming);
    replace("found", incoming);
    replace("pages", incoming);
  } else {
    fresh = newRows ? [...newRows.children] : [];
    for (const row of fresh) row.classList.add("is-new");
    live.replaceChildren(...incoming.childNodes);
  }
  setServerTime(incoming.dataset.now);
  restore(seen, focused);
  if (fresh.length) news.textContent = fresh.length === 1 ? "1 new alert" : `${fresh.length} new alerts`;
}

async function update() {
  const headers = etag ? { "If-None-Match": etag } : {};
  try {
    const answer = await fetch(state.dataset.url, {
      headers, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.status === 401) return window.location.reload();
    if (answer.status === 200) {
      const html = await answer.text();
      if (paused) return undefined;
      put(html);
      etag = answer.headers.get("ETag");
    } else if (answer.status !== 304) {
      const why = answer.headers.get("Content-Type")?.startsWith("text/plain") ? await answer.text() : "";
      trouble = why ? `Alerts cannot be loaded now: ${why}` : "The dashboard cannot answer now";
      return undefined;
    }
    trouble = null;
    updatedAt = serverNow();
  } catch {
    trouble = "Connection lost";
  }
  return undefined;
}

async function turn() {
  clearTimeout(timer);
  timer = null;
  if (paused || document.hidden) return;
  await update();
  show();
  refreshAll();
  clearTimeout(timer);
  timer = setTimeout(turn, EVERY_MS);
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
    pause.textContent = paused ? "Go on" : "Pause";
    show();
    if (!paused) turn();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) turn();
  });
  timer = setTimeout(turn, EVERY_MS);
  show();
}
