/** What is known of one option, and of one section of the file. */
export type OptionType =
  | 'text'
  | 'secret'
  | 'integer'
  | 'boolean'
  | 'duration'
  | 'size'
  | 'list'
  | 'map'
  | 'choice';

export interface Option {
  readonly section: string;
  /** In the file. */
  readonly key: string;
  /** Field of the parsed section. */
  readonly field: string;
  /** Durations are milliseconds when parsed, sizes bytes. The value of a `secret` is never shown. */
  readonly type: OptionType;
  /** undefined: required; null: optional without a default. */
  readonly fallback: unknown;
  /** One sentence. */
  readonly help: string;
  /** A value as it stands in the file. */
  readonly example: string;
  readonly choices?: readonly string[];
  /** Bounds of numbers, inclusive, in the parsed unit. */
  readonly min?: number;
  readonly max?: number;
}

export interface Section {
  /** `[name]` once, `[[name]]` once for each entry, or `[name.<entry>]`. */
  readonly kind: 'once' | 'list' | 'named';
  readonly help: string;
}

type MakeOption = (
  key: string,
  type: OptionType,
  fallback: unknown,
  example: string,
  help: string,
  rest?: Pick<Option, 'choices' | 'min' | 'max'>,
) => Option;

/** Makes the options of one section. */
export function optionsOf(section: string): MakeOption {
  return (key, type, fallback, example, help, rest = {}) => {
    const camel = key.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase());
    const field = type === 'duration' ? `${camel}Ms` : camel;
    return { section, key, field, type, fallback, example, help, ...rest };
  };
}

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
