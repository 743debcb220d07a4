import { expect, test } from "vitest";
import { createStore } from "../src/store";

test("tells the listeners of what changed, and no others", () => {
  const store = createStore({ a: 1, b: "x", c: [] as number[] });
  const heard: string[] = [];
  store.watch(["a"], ({ a }) => heard.push(`a${a}`));
  store.watch(["b", "c"], ({ b }) => heard.push(`b${b}`));
  store.set({ a: 2 });
  store.set({ b: "y", a: 2 });
  store.set({ a: 2, b: "y" });
  store.set({ a: 3, c: [1] });
  expect(heard).toEqual(["a2", "by", "a3", "by"]);
});

test("ends a watch, also from within", () => {
  const store = createStore({ a: 0 });
  let heard = 0;
  const end = store.watch(["a"], () => {
    heard++;
    end();
  });
  store.set({ a: 1 });
  store.set({ a: 2 });
  expect(heard).toBe(1);
});

test("a listener may set; the state is replaced, not edited", () => {
  const store = createStore({ a: 0, doubled: 0 });
  store.watch(["a"], ({ a }) => store.set({ doubled: 2 * a }));
  const before = store.get();
  store.set({ a: 4 });
  expect(store.get()).toEqual({ a: 4, doubled: 8 });
  expect(before).toEqual({ a: 0, doubled: 0 });
});

test("NaN is the same value as NaN", () => {
  const store = createStore({ a: Number.NaN });
  let heard = 0;
  store.watch(["a"], () => heard++);
  store.set({ a: Number.NaN });
  expect(heard).toBe(0);
});
