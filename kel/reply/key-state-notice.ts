/** The key state record of a `/ksn` reply: what a party says that the log of an AID has come to. */
import type { BodyMap, BodyValue } from '#kel/cesr/body-value';
import { parseHexNumber } from '#kel/cesr/number';
import { KelError } from '#kel/errors';
import {
  aidField,
  checkWitnessThreshold,
  digestsField,
  keysField,
  listField,
  saidField,
  textField,
  traitsField,
  witnessesField,
} from '#kel/event/fields';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { checkThreshold } from '#kel/key-state/threshold';
import { quote } from '#kel/quote';
import { dateTimeField, expectLabels, mapField } from './fields.ts';

export interface KeyStateNotice {
  readonly state: Omit<KeyState, 'kind'>;
  /** SAID of the event before the last one; undefined after an inception. */
  readonly prior: Said | undefined;
  /** Place of the last event in the first-seen log of the party that says so, from 0. */
  readonly firstSeen: number;
  /** Of the record: now, or, as KERIpy has it, when the event was first seen. */
  readonly dateTime: string;
  /** Of the last establishment event. */
  readonly witnessCuts: readonly Aid[];
  readonly witnessAdds: readonly Aid[];
}

const LABELS = 'vn i s p d f dt et kt k nt n bt b c ee di'.split(' ');
const EVENT_TYPES: ReadonlySet<string> = new Set(['icp', 'rot', 'ixn', 'dip', 'drt']);

/** @throws KelError */
export function parseNotice(fields: BodyMap): KeyStateNotice {
  expectLabels('key state', fields, LABELS);
  const [major, minor, ...more] = listField(fields, 'vn');
  if (major !== 1 || minor !== 0 || more.length > 0)
    throw new KelError('KEL_BAD_VERSION', 'key state: expected version 1, 0');
  const last = mapField(fields, 'ee');
  expectLabels('field ee', last, ['s', 'd', 'br', 'ba']);
  const keys = keysField(fields);
  const nextDigests = digestsField(fields);
  const witnesses = witnessesField(fields, 'b');
  const witnessThreshold = parseHexNumber('field bt', fields.get('bt'));
  checkWitnessThreshold(witnessThreshold, witnesses.length);
  const state = {
    aid: aidField(fields, 'i'),
    sn: parseHexNumber('field s', fields.get('s')),
    said: saidField(fields, 'd'),
    eventType: eventType(textField(fields, 'et')),
    establishment: {
      sn: parseHexNumber('field ee.s', last.get('s')),
      said: saidField(last, 'd'),
    },
    keys,
    signingThreshold: checkThreshold('field kt', fields.get('kt'), keys.length),
    nextDigests,
    nextThreshold: checkThreshold('field nt', fields.get('nt'), nextDigests.length),
    witnesses,
    witnessThreshold,
    configTraits: traitsField(fields),
    delegator: fields.get('di') === '' ? undefined : aidField(fields, 'di'),
  };
  const prior = fields.get('p') === '' ? undefined : saidField(fields, 'p');
  checkPlaces(state, prior);
  return {
    state,
    prior,
    firstSeen: parseHexNumber('field f', fields.get('f')),
    dateTime: dateTimeField(fields, 'dt'),
    witnessCuts: witnessesField(last, 'br'),
    witnessAdds: witnessesField(last, 'ba'),
  };
}

export function noticeFields(notice: KeyStateNotice): BodyMap {
  const { state, prior, firstSeen, dateTime, witnessCuts, witnessAdds } = notice;
  return new Map<string, BodyValue>([
    ['vn', [1, 0]],
    ['i', state.aid],
    ['s', state.sn.toString(16)],
    ['p', prior ?? ''],
    ['d', state.said],
    ['f', firstSeen.toString(16)],
    ['dt', dateTime],
    ['et', state.eventType],
    ['kt', state.signingThreshold],
    ['k', state.keys],
    ['nt', state.nextThreshold],
    ['n', state.nextDigests],
    ['bt', state.witnessThreshold.toString(16)],
    ['b', state.witnesses],
    ['c', state.configTraits],
    [
      'ee',
      new Map<string, BodyValue>([
        ['s', state.establishment.sn.toString(16)],
        ['d', state.establishment.said],
        ['br', witnessCuts],
        ['ba', witnessAdds],
      ]),
    ],
    ['di', state.delegator ?? ''],
  ]);
}

function eventType(text: string): KeyState['eventType'] {
  if (EVENT_TYPES.has(text)) return text as KeyState['eventType'];
  throw new KelError('KEL_BAD_VALUE', `field et: ${quote(text)} is no type of event`);
}

/** What the record says of its places must be possible together. */
function checkPlaces(
  { sn, said, eventType, establishment }: KeyStateNotice['state'],
  prior: Said | undefined,
): void {
  const isInception = eventType === 'icp' || eventType === 'dip';
  const isLast = establishment.sn === sn && establishment.said === said;
  const fits =
    isInception === (sn === 0) &&
    isInception === (prior === undefined) &&
    (eventType === 'ixn' ? establishment.sn < sn : isLast);
  if (!fits)
    throw new KelError(
      'KEL_BAD_VALUE',
      `key state: ${eventType} at ${sn} with prior ${prior ?? 'none'} and establishment at ${establishment.sn} contradict each other`,
    );
}
