/**
 * The control protocol: one request per connection, lines of JSON.
 *
 * request `{"verb": …, "args": {…}}`, then any number of `{"progress": …}` and one `{"result": …}` or
 * `{"error": {"code", "message", "hint"}}`. Who may open the socket may do everything (mode 0600).
 */
import { withCode } from '../organisation/system-error.ts';

export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

export interface Request {
  readonly verb: string;
  readonly args: Readonly<Record<string, Json | undefined>>;
}

export type Response =
  | { readonly progress: string }
  | { readonly result: Json }
  | { readonly error: { readonly code: string; readonly message: string; readonly hint: string } };

/** Bytes of a request, and of one line of a response. */
export const MAX_REQUEST = 64 * 1024;
export const MAX_RESPONSE = 64 * 1024 * 1024;

export function errorResponse(error: unknown): Response {
  const { code, hint, message } = withCode(error) as {
    code?: string;
    hint?: string;
    message: string;
  };
  return { error: { code: code ?? 'INTERNAL', message, hint: hint ?? '' } };
}
