// Updates relative times while a page is open. The texts are those of presentation/times.py.
let offset = 0;

// Times are relative to the server's clock, because the browser's clock may be wrong.
export function setServerTime(iso) {
  const server = Date.parse(iso);
  if (!Number.isNaN(server)) offset = server - Date.now();
}

export const serverNow = () => new Date(Date.now() + offset);

export const clock = (date) => date.toLocaleTimeString([], { hour12: false });

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
    const text = ago(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}
