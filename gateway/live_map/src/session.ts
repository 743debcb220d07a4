/**
 * Who is looking: a token from the address (`#token=`), from this tab's storage, from a demo gateway, or typed in.
 * It lives in sessionStorage: gone with the tab, never in the address, never in a request line.
 */
export interface Session {
  readonly token: string;
  readonly tenant: string;
  readonly role: string;
}

const KEY = "drover.token";

/** Claims of a JWT, unverified: only the server can verify, the page merely decides which buttons to show. */
export function readToken(token: string): Session | null {
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token.trim())?.[1];
  if (payload === undefined) return null;
  try {
    const text = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const claims = JSON.parse(text) as { tenant?: unknown; role?: unknown };
    return { token: token.trim(), tenant: String(claims.tenant ?? ""), role: String(claims.role ?? "viewer") };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof DOMException) return null;
    throw error;
  }
}

/** Takes `#token=` out of the address bar and its history entry. */
export function tokenFromAddress(location: Location, history: History): string | null {
  const fields = new URLSearchParams(location.hash.slice(1));
  const token = fields.get("token");
  if (token === null) return null;
  fields.delete("token");
  const rest = fields.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest === "" ? "" : `#${rest}`));
  return token;
}

export function keep(session: Session): void {
  sessionStorage.setItem(KEY, session.token);
}

export function forget(): void {
  sessionStorage.removeItem(KEY);
}

/** A session without asking a person, or null. */
export async function findSession(): Promise<Session | null> {
  for (const token of [tokenFromAddress(location, history), sessionStorage.getItem(KEY)]) {
    const session = token === null ? null : readToken(token);
    if (session !== null) {
      keep(session);
      return session;
    }
  }
  return demoSession();
}

/** The session that a demo gateway hands out; null from any other. */
export async function demoSession(): Promise<Session | null> {
  const response = await fetch("v1/demo-session").catch((error: unknown) => {
    if (error instanceof TypeError) return null; // not reachable
    throw error;
  });
  if (response === null || !response.ok) return null;
  return readToken(((await response.json()) as { token: string }).token);
}

export function mayEdit(session: Session | null): boolean {
  return session !== null && ["dispatcher", "admin"].includes(session.role);
}

/** Asks for a token in a dialog; resolves with one that reads as a token. */
export function askForToken(dialog: HTMLDialogElement, reason: string): Promise<Session> {
  dialog.innerHTML = `
    <form method="dialog">
      <h1>Sign in</h1>
      <p data-part="reason"></p>
      <label>Token <input name="token" type="password" autocomplete="off" spellcheck="false" required data-testid="token-input"></label>
      <p class="hint"><code>drover token</code> makes one.</p>
      <p class="error" role="alert" hidden>This is not a token: it should have three parts with dots between.</p>
      <button class="primary" type="submit">Open the map</button>
    </form>`;
  (dialog.querySelector("[data-part=reason]") as HTMLElement).textContent = reason;
  const form = dialog.querySelector("form") as HTMLFormElement;
  const input = dialog.querySelector("input") as HTMLInputElement;
  const complaint = dialog.querySelector(".error") as HTMLElement;
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault();
    form.onsubmit = (event) => {
      event.preventDefault();
      const session = readToken(input.value);
      complaint.hidden = session !== null;
      if (session === null) return;
      keep(session);
      dialog.close();
      resolve(session);
    };
    if (!dialog.open) dialog.showModal();
  });
}
