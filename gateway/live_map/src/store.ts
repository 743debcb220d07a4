/**
 * The one store: a record of values, and listeners that name the keys they live on.
 *
 * State is replaced, never edited, except the fleet's columns, which are too many to copy; `fleetVersion` stands for them.
 */
export interface Store<S extends object> {
  get(): Readonly<S>;
  /** Takes over the given keys; tells the listeners of those that are not the same value as before. */
  set(update: Partial<S>): void;
  /** Calls `listener` after a change of any of `keys`; the returned function ends it. */
  watch(keys: readonly (keyof S)[], listener: (state: Readonly<S>) => void): () => void;
}

export function createStore<S extends object>(initial: S): Store<S> {
  let state = initial;
  const listeners = new Set<{ keys: ReadonlySet<keyof S>; call: (state: Readonly<S>) => void }>();
  return {
    get: () => state,
    set(update) {
      const changed = (Object.keys(update) as (keyof S)[]).filter((key) => !Object.is(update[key], state[key]));
      if (changed.length === 0) return;
      state = { ...state, ...update };
      for (const listener of [...listeners]) {
        if (changed.some((key) => listener.keys.has(key))) listener.call(state);
      }
    },
    watch(keys, call) {
      const listener = { keys: new Set(keys), call };
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
