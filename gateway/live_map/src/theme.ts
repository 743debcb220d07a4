/** Colours of the map; those of the panels are in style.css. Ages read apart for colour-blind eyes too: by lightness. */

export type Rgb = readonly [number, number, number];

export interface Theme {
  readonly name: "dark" | "light";
  readonly sea: string;
  readonly land: string;
  readonly coast: string;
  readonly border: string;
  readonly graticule: string;
  readonly fence: string;
  readonly draft: string;
  /** By age class. */
  readonly age: readonly [string, string, string];
  readonly symbolEdge: string;
  readonly trail: Rgb;
  readonly selection: Rgb;
}

const DARK: Theme = {
  name: "dark",
  sea: "#0c131b",
  land: "#1a2531",
  coast: "#3b5166",
  border: "#2a3947",
  graticule: "#131d28",
  fence: "#9d8cff",
  draft: "#ffd166",
  age: ["#35d0a5", "#f4b740", "#7f8c9b"],
  symbolEdge: "#0a1118",
  trail: [86, 170, 255],
  selection: [255, 255, 255],
};

const LIGHT: Theme = {
  name: "light",
  sea: "#d9e4ec",
  land: "#f7f6f2",
  coast: "#a9bac8",
  border: "#d3d6d8",
  graticule: "#cfdce6",
  fence: "#6a52e0",
  draft: "#d9480f",
  age: ["#0b8f6d", "#c77700", "#8a949e"],
  symbolEdge: "#ffffff",
  trail: [22, 104, 214],
  selection: [16, 26, 36],
};

export function themeFor(dark: boolean): Theme {
  return dark ? DARK : LIGHT;
}
