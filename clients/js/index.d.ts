/** The side that acknowledged a text: the partner's program, or its node for a client that can't. */
export type Side = "client" | "node";

/** What became of a text. */
export type Status = "pending" | "delivered" | "unconfirmed" | "refused";

export type PresenceState = "free" | "busy" | "away" | "offline" | (string & {});

/** A program's own label for a request. It comes back in the events that answer it. */
export type Ref = string | number;

/** What keeps a session: `sessionStorage`, or an object like it. */
export type Kept = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export interface Options {
  /** The name to claim. */
  name: string;
  /** Returns the signed token that proves the name. It is called for each connection. */
  auth?: () => string | null | undefined | Promise<string | null | undefined>;
  /** Whether the program answers calls itself (`invited`). Otherwise every call makes a chat. */
  ask?: boolean;
  /** `taken` (the default): a message is acknowledged once the program has taken it. `manual`: `acknowledge` does it. */
  acks?: "taken" | "manual";
  /** Seconds for which a lost connection is replaced. The default is the session's grace; Infinity: for ever. */
  reconnectTimeout?: number;
  /** Seconds for which a name that is taken is claimed again, because a killed program of yours may hold it. */
  claimTimeout?: number;
  /** Begin with the first address. By default it is a random one, so that clients spread over the nodes. */
  inOrder?: boolean;
  /** Where the session is kept for a reload: `() => sessionStorage`. Without it, nothing is kept. */
  state?: Kept | (() => Kept) | null;
  /** Another WebSocket than the global one. */
  WebSocket?: typeof WebSocket;
}

export interface Joined { type: "joined"; name: string; node: string; resumed: boolean; maxLine: number }
export interface Paired { type: "paired"; name: string; chat: string; acks: Side; resumed: boolean; ref?: Ref }
/** The partner sent a text. `at` is the Unix time in seconds at which the sender's node took it. */
export interface Message { type: "message"; id: number; sender: string; chat: string; text: string; at: number }
export interface Settled { type: "settled"; receipt: Receipt }
/** The partner's connection was lost. It may come back within `grace` seconds. */
export interface Away { type: "away"; name: string; grace: number; chat: string }
export interface Back { type: "back"; name: string; chat: string }
/** The chat is over. `reason`: `quit`, `left`, `lost` or `kicked`. */
export interface Left { type: "left"; name: string; reason: string; chat: string; ref?: Ref }
export interface Presence { type: "presence"; name: string; state: PresenceState; ref?: Ref }
export interface Typing { type: "typing"; name: string; chat: string }
export interface Ringing { type: "ringing"; name: string; wait: number; chat: string; ref?: Ref }
/** Somebody calls a program with `ask`, which accepts or declines within `wait` seconds. */
export interface Invited { type: "invited"; name: string; chat: string; wait: number }
export interface Missed { type: "missed"; name: string; chat: string; ref?: Ref }
export interface Blocked { type: "blocked"; name: string; on: boolean; ref?: Ref }
/** The node is about to stop. The client moves to another one. */
export interface Moving { type: "moving" }
/** The connection is gone. The client looks for another one (`joined`). */
export interface Dropped { type: "dropped"; reason: string }
/** The session was away too long. The client claims its name again (`joined`). */
export interface Expired { type: "expired"; name: string }
/** The other side ended the session: `name_lost`, `replaced`, `kicked`, or the code that refused the name. */
export interface Lost { type: "lost"; code: string; message: string }
/** An error that belongs to no request. */
export interface Complaint { type: "complaint"; code: string; message: string }
/** The name was given back. */
export interface Bye { type: "bye" }
/** Nothing follows. `reason` is empty if the program closed the chat. */
export interface Close { type: "close"; reason: string }

export type ChatEvent =
  | Joined | Paired | Message | Settled | Away | Back | Left | Presence | Typing | Ringing | Invited | Missed | Blocked
  | Moving | Dropped | Expired | Lost | Complaint | Bye | Close;

type EventOf<Type extends ChatEvent["type"]> = Extract<ChatEvent, { type: Type }>;

/** The outcome of one text. */
export interface Receipt {
  readonly id: number;
  readonly text: string;
  readonly status: Status;
  /** Why it isn't delivered, or an empty string. */
  readonly detail: string;
  /** Its Unix time as the partner sees it, if it is known. */
  readonly at: number | null;
  /**
   * Resolves when the text was acknowledged. Rejects with `NotConfirmed` if no acknowledgement will come, with `Refused`
   * if the node did not accept it, and with `ConnectionLost` if its outcome stays unknown.
   */
  readonly delivered: Promise<Side>;
}

/**
 * A session under a name, with at most one partner at a time.
 *
 * A loop over it takes the events, and acknowledges a message when it asks for the next event. Without a loop, listeners
 * get them, and a message is acknowledged when they have returned, unless one called `preventDefault`.
 */
export interface Chat extends AsyncIterable<ChatEvent>, EventTarget {
  readonly name: string | null;
  readonly partner: string | null;
  /** The id of the present chat. An event with another one belongs to an earlier chat. */
  readonly chat: string | null;
  /** The longest frame that the node accepts, in bytes. */
  readonly maxLine: number;
  /** Whether a node serves the session. Otherwise another connection is looked for. */
  readonly online: boolean;
  /** Whether nothing more will happen. */
  readonly over: boolean;
  /** The address of the present connection, or of the last one. */
  readonly url: string;
  /** Attempts to reconnect since the connection was lost. */
  readonly tries: number;
  /** The receipts of the texts without an outcome, oldest first. */
  readonly pending: Receipt[];

  /** Claim a name after `lost`. */
  claim(name: string): Promise<string>;
  /** Start a chat, and leave the present one. Returns the name as its owner wrote it. An aborted `signal` gives up. */
  call(name: string, options?: { ref?: Ref; signal?: AbortSignal }): Promise<string>;
  cancelCall(): void;
  accept(call: Invited, options?: { ref?: Ref }): Promise<string>;
  decline(call: Invited): void;
  /** Refuse the calls of a user for the rest of this session. */
  block(name: string, options?: { ref?: Ref }): Promise<void>;
  unblock(name: string, options?: { ref?: Ref }): Promise<void>;
  /** Tell the partner that the user is typing, if it can be told at once. */
  typing(): void;
  who(name: string, options?: { ref?: Ref }): Promise<PresenceState>;
  /** Send a text. It waits only while the window is full. */
  send(text: string): Promise<Receipt>;
  /** End the chat and keep the name. */
  leave(options?: { ref?: Ref }): Promise<void>;
  /** Acknowledge a message and all before it; without one, the message that the loop has. */
  acknowledge(message?: Message): void;
  /** Give the name back. Every text gets its outcome first; with `now` that is not waited for. */
  close(options?: { now?: boolean }): Promise<void>;

  addEventListener<Type extends ChatEvent["type"]>(
    type: Type,
    listener: (event: CustomEvent<EventOf<Type>>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Type extends ChatEvent["type"]>(
    type: Type,
    listener: (event: CustomEvent<EventOf<Type>>) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

/** All errors of this package derive from this one. */
export class RelayError extends Error {}
/** No connection could be made. */
export class ConnectionFailed extends RelayError {}
/** The connection is gone for good. */
export class ConnectionLost extends RelayError {}
/** The other side broke the protocol. */
export class NotARelay extends ConnectionLost {}
/** This session has no name. */
export class NameLost extends RelayError {}
/** The node refused a request. `code` is one of the protocol, `about` the name in the request. */
export class Refused extends RelayError {
  readonly code: string;
  readonly reason: string;
  readonly about: string | null;
}
/** No acknowledgement will come for a text, which may have arrived or not. */
export class NotConfirmed extends RelayError {
  readonly reason: string;
}

/**
 * Connect to one of these nodes (`wss://host/ws`), claim a name, and return the chat. Rejects with `ConnectionFailed` if
 * none answers, and with `Refused` if the name is refused.
 */
export function connect(urls: string | URL | (string | URL)[], options: Options): Promise<Chat>;
