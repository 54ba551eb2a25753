// Reports an outage on pages without live updates of their own, and loads current data after it.
import { clock, serverNow } from "./ago.js";
import { gettext } from "./texts.js";

const INTERVAL_MS = 5000;
const TIMEOUT_MS = 8000;
const line = document.getElementById("outage-line");
const refresh = document.getElementById("refresh");
// The page of an outage and pages with live updates have their own requests.
const needed = !document.getElementById("outage")
  && !document.querySelector(".live[data-url]:not([data-on='0'])");
let loadedAt = serverNow();
let running = false;
let timer = null;

async function problem() {
  try {
    const response = await fetch(refresh.dataset.status, {
      cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status === 401) window.location.reload();
    if (response.ok || response.status === 401) return "";
    const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
    return isText
      ? gettext("Alerts cannot be loaded: %(reason)s", { reason: await response.text() })
      : gettext("The dashboard does not respond");
  } catch {
    return gettext("Connection lost");
  }
}

async function run() {
  clearTimeout(timer);
  if (document.hidden || running) return;
  running = true;
  const text = await problem();
  running = false;
  const words = text ? gettext("%(problem)s. Data of %(time)s", { problem: text, time: clock(loadedAt) }) : "";
  // A text that is set again would be read aloud again.
  if (line.textContent !== words) line.textContent = words;
  if (!text && !line.hidden) refresh.dispatchEvent(new Event("refresh"));
  line.hidden = !text;
  timer = setTimeout(run, INTERVAL_MS);
}

if (needed) {
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail?.ctx?.target?.id === "main") loadedAt = serverNow();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) run();
  });
  timer = setTimeout(run, INTERVAL_MS);
}
