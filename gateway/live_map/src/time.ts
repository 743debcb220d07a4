/** Times of REST, RFC 3339 in UTC, as the numbers that everything here computes with. */

/** Microseconds since the epoch of an RFC 3339 time. Date knows milliseconds; the rest is read from the text. */
export function timeUs(text: string): number {
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? "";
  const wholeMs = Date.parse(text.replace(/\.\d+/, ""));
  return wholeMs * 1000 + Number(fraction.padEnd(6, "0").slice(0, 6));
}

export function timeText(us: number): string {
  return new Date(us / 1000).toISOString();
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const CLOCK_SHORT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** A time of day in the dispatcher's zone; with the day when it is not today. */
export function clockText(us: number, nowUs: number, seconds = true): string {
  const date = new Date(us / 1000);
  const now = new Date(nowUs / 1000);
  if (date.toDateString() === now.toDateString()) return (seconds ? CLOCK : CLOCK_SHORT).format(date);
  const day = date.getFullYear() === now.getFullYear() ? DAY : DAY_AND_YEAR;
  return `${day.format(date)} ${CLOCK_SHORT.format(date)}`;
}
