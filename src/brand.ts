/** Nominal types: a value of `Brand<T, Name>` is made only by the parsing function of that name. */
declare const brand: unique symbol;

export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
