// Updates relative times while a page is open. The texts are those of presentation/times.py.
import { gettext } from "./texts.js";

let offset = 0;

// Times are relative to the server's clock, because the browser's clock may be wrong.
export function setServerTime(iso) {
  const server = Date.parse(iso);
  if (!Number.isNaN(server)) offset = server - Date.now();
}

export const serverNow = () => new Date(Date.now() + offset);

export const clock = (date) => date.toLocaleTimeString(document.documentElement.lang, { hour12: false });

function amount(seconds) {
  for (const [size, unit] of [[86400, gettext("d")], [3600, gettext("h")], [60, gettext("min")]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${seconds} ${gettext("s")}`;
}

// The format is one of Python: the server writes dates in the same way.
function date(iso) {
  const [year, month, day] = iso.slice(0, 10).split("-");
  return gettext("%Y-%m-%d").replace("%Y", year).replace("%m", month).replace("%d", day);
}

export function ago(iso) {
  const seconds = Math.trunc((serverNow() - Date.parse(iso)) / 1000);
  if (seconds < -5) return gettext("in %(time)s", { time: amount(-seconds) });
  if (seconds < 5) return gettext("just now");
  return seconds < 30 * 86400 ? gettext("%(time)s ago", { time: amount(seconds) }) : date(iso);
}

export function refreshAll() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const text = ago(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}
