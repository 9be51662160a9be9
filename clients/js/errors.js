// The errors of this package. The message of each is a line for a person.

/** All errors of this package derive from this one. */
export class RelayError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** No connection could be made: nothing listens there, or no answer came in time. */
export class ConnectionFailed extends RelayError {}

/** The connection is gone for good. Texts without an outcome may have arrived or not. */
export class ConnectionLost extends RelayError {}

/** The other side broke the protocol. Most likely it is no relay. */
export class NotARelay extends ConnectionLost {}

/** This session has no name: another connection has it now, or none was claimed yet. */
export class NameLost extends RelayError {}

/** The node, or this library in its place, refused a request. `code` is one of the protocol. */
export class Refused extends RelayError {
  constructor(code, message, about = null) {
    super(about ? `${about}: ${message || code}` : message || code);
    this.code = code;
    this.reason = message || code;
    this.about = about; // the name in the request, or null
  }
}

/** No acknowledgement will come for a text, which may have arrived or not. `reason` is one of the protocol. */
export class NotConfirmed extends RelayError {
  constructor(reason) {
    super(`may not have arrived (${reason})`);
    this.reason = reason;
  }
}
