/** Age of a fix: what it is called, and what colour it gets. */

/** As numbers, because they are a column; the order is that of the legend. */
export const FRESH = 0;
export const AGEING = 1;
export const STALE = 2;
export type AgeClass = typeof FRESH | typeof AGEING | typeof STALE;

export const AGE_CLASSES: readonly { readonly age: AgeClass; readonly name: string; readonly meaning: string }[] = [
  { age: FRESH, name: "fresh", meaning: "under 1 min" },
  { age: AGEING, name: "ageing", meaning: "1 to 5 min" },
  { age: STALE, name: "stale", meaning: "over 5 min" },
];

const AGEING_AFTER_US = 60e6;
const STALE_AFTER_US = 300e6;

export function ageClass(ageUs: number): AgeClass {
  if (ageUs < AGEING_AFTER_US) return FRESH;
  return ageUs < STALE_AFTER_US ? AGEING : STALE;
}

/** "now", "12 s", "3 min", "5 h", "2 d", "4 y": never more than six characters, so that columns stand still. */
export function ageText(ageUs: number): string {
  const seconds = Math.max(0, Math.floor(ageUs / 1e6));
  if (seconds < 1) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  if (seconds < 730 * 86_400) return `${Math.floor(seconds / 86_400)} d`;
  return `${Math.floor(seconds / (365.25 * 86_400))} y`;
}

/** As `ageText`, but two units where the first is coarse: "3 min 12 s", for the one vehicle that is looked at. */
export function exactAgeText(ageUs: number): string {
  const seconds = Math.max(0, Math.floor(ageUs / 1e6));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} min`;
  return ageText(ageUs);
}
