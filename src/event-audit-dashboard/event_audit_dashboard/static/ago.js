// Relative times that stay true while a page is open. The same words as presentation/times.py.
let offset = 0;

// The server's clock is the one that the times belong to; the browser's may be wrong.
export function setServerTime(iso) {
  const server = Date.parse(iso);
  if (!Number.isNaN(server)) offset = server - Date.now();
}

export const serverNow = () => new Date(Date.now() + offset);

export const clock = (moment) => moment.toISOString().slice(11, 19);

function amount(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${seconds} s`;
}

export function ago(iso) {
  const seconds = Math.trunc((serverNow() - Date.parse(iso)) / 1000);
  if (seconds < -5) return `in ${amount(-seconds)}`;
  if (seconds < 5) return "just now";
  return seconds < 30 * 86400 ? `${amount(seconds)} ago` : iso.slice(0, 10);
}

export function refreshAll() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const words = ago(element.dateTime);
    if (element.textContent !== words) element.textContent = words;
  }
}
