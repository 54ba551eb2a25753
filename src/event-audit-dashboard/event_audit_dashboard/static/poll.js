// Polls a URL while the page is visible, and reports an outage beside the data of the page.
import { clock, serverNow } from "./ago.js";
import { gettext } from "./texts.js";

const TIMEOUT_MS = 8000;

// `state` has the class and `label` the text. `onChange(response)` is called for each new version.
export function poll({ url, intervalMs, etag, state, label, onChange }) {
  let updatedAt = serverNow();
  let problem = null;
  let timer = null;
  let running = false;

  function show() {
    if (!state) return;
    state.classList.toggle("live-on", !problem);
    state.classList.toggle("live-lost", Boolean(problem));
    const seconds = Math.max(0, Math.round((serverNow() - updatedAt) / 1000));
    const text = problem
      ? gettext("%(problem)s. Data of %(time)s", { problem, time: clock(updatedAt) })
      : seconds < 5 ? gettext("Live") : gettext("Live, updated %(count)s s ago", { count: seconds });
    if (label.textContent !== text) label.textContent = text;
  }

  async function request() {
    try {
      const response = await fetch(url(), {
        headers: etag ? { "If-None-Match": etag } : {},
        cache: "no-store",
        credentials: "same-origin",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.status === 401) return window.location.reload();
      if (response.status === 200) {
        etag = response.headers.get("ETag");
        await onChange(response);
      } else if (response.status !== 304) {
        const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
        const reason = isText ? await response.text() : "";
        problem = reason ? gettext("Alerts cannot be loaded: %(reason)s", { reason }) : gettext("The dashboard does not respond");
        return undefined;
      }
      problem = null;
      updatedAt = serverNow();
    } catch {
      problem = gettext("Connection lost");
    }
    return undefined;
  }

  async function run() {
    clearTimeout(timer);
    timer = null;
    if (document.hidden || running) return;
    running = true;
    await request();
    running = false;
    show();
    clearTimeout(timer);
    timer = setTimeout(run, intervalMs);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) run();
  });
  setInterval(show, 1000);
  timer = setTimeout(run, intervalMs);
  show();
  return { now: run, reset: () => { etag = null; } };
}
