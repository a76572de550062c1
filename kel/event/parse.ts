/** From the body of a message to a key event: schema, values, SAID and prefix; all that no other event decides. */

import { type Body, parseBody } from '#kel/cesr/body';
import type { BodyMap } from '#kel/cesr/body-value';
import { parseHexNumber } from '#kel/cesr/number';
import { verifySaid } from '#kel/cesr/said';
import { KelError } from '#kel/errors';
import { type Aid, isNonTransferable, isSelfAddressing, type Said } from '#kel/identifiers';
import { checkThreshold } from '#kel/key-state/threshold';
import { quote } from '#kel/quote';
import {
  aidField,
  checkFields,
  checkWitnessThreshold,
  digestsField,
  keysField,
  listField,
  saidField,
  textField,
  traitsField,
  witnessesField,
} from './fields.ts';
import type { InceptionEvent, KeyEvent, RotationEvent } from './key-event.ts';

/** @param bytes exactly one body  @throws KelError, every code `KEL_BAD_…` and `KEL_LIMIT` */
export function parseKeyEvent(bytes: Uint8Array): KeyEvent {
  return keyEventOf(parseBody(bytes, 'KERI'), bytes);
}

/**
 * Whose event or receipt a body claims to be: all that a door asks before it decides whether the rest is read.
 * @throws KEL_BAD_IDENTIFIER
 */
export function claimedAid({ fields }: Body): Aid {
  return aidField(fields, 'i');
}

/** As {@link parseKeyEvent}, for a body that is parsed already. */
export function keyEventOf(body: Body, bytes: Uint8Array): KeyEvent {
  const { fields } = body;
  const type = textField(fields, 't');
  checkFields(type, fields);
  const aid = aidField(fields, 'i');
  const isInception = type === 'icp' || type === 'dip';
  const said = verifySaid(bytes, fields, isInception && isSelfAddressing(aid)) as Said;
  const base = {
    said,
    aid,
    sn: parseHexNumber('field s', fields.get('s')),
    kind: body.kind,
    anchors: listField(fields, 'a'),
  };
  if (isInception !== (base.sn === 0))
    throw new KelError('KEL_BAD_VALUE', `${type} with sequence number ${base.sn}`);
  switch (type) {
    case 'icp':
    case 'dip':
      return inception({
        ...base,
        type,
        ...establishment(fields),
        ...inceptionFields(type, fields),
      });
    case 'rot':
    case 'drt':
      return rotation({
        ...base,
        type,
        prior: saidField(fields, 'p'),
        ...establishment(fields),
        witnessCuts: witnessesField(fields, 'br'),
        witnessAdds: witnessesField(fields, 'ba'),
      });
    case 'ixn':
      return { ...base, type, prior: saidField(fields, 'p') };
    default:
      throw new KelError('KEL_BAD_SCHEMA', `message type ${quote(type)} is not a key event`);
  }
}

/** What a receipt (`rct`) says it receipts. */
export interface ReceiptedEvent {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
}

/** @throws KelError */
export function receiptedEvent({ fields }: Body): ReceiptedEvent {
  checkFields('rct', fields);
  return {
    aid: aidField(fields, 'i'),
    sn: parseHexNumber('field s', fields.get('s')),
    said: saidField(fields, 'd'),
  };
}

function establishment(fields: BodyMap) {
  const keys = keysField(fields);
  const nextDigests = digestsField(fields);
  return {
    keys,
    signingThreshold: checkThreshold('field kt', fields.get('kt'), keys.length),
    nextDigests,
    nextThreshold: checkThreshold('field nt', fields.get('nt'), nextDigests.length),
    witnessThreshold: parseHexNumber('field bt', fields.get('bt')),
  };
}

function inceptionFields(type: 'icp' | 'dip', fields: BodyMap) {
  return {
    witnesses: witnessesField(fields, 'b'),
    configTraits: traitsField(fields),
    delegator: type === 'dip' ? aidField(fields, 'di') : undefined,
  };
}

function inception(event: InceptionEvent): InceptionEvent {
  checkWitnessThreshold(event.witnessThreshold, event.witnesses.length);
  checkPrefix(event);
  return event;
}

/** The new threshold is checked against the new list when the state is known. */
function rotation(event: RotationEvent): RotationEvent {
  const adds = new Set<string>(event.witnessAdds);
  const both = event.witnessCuts.find((witness) => adds.has(witness));
  if (both !== undefined)
    throw new KelError('KEL_BAD_WITNESSES', `witness ${both} is cut and added`);
  return event;
}

/** Self-addressing: verified with the SAID. Basic: the one key; non-transferable: and nothing that could follow. */
function checkPrefix({
  aid,
  said,
  type,
  keys,
  nextDigests,
  witnesses,
  anchors,
  delegator,
}: InceptionEvent): void {
  if (isSelfAddressing(aid)) {
    if ((aid as string) !== said)
      throw new KelError('KEL_BAD_PREFIX', `AID ${aid} is not the SAID ${said} of its inception`);
    if (delegator === (aid as string))
      throw new KelError('KEL_BAD_PREFIX', `AID ${aid} delegates itself`);
    return;
  }
  if (type === 'dip')
    throw new KelError('KEL_BAD_PREFIX', `delegated AID ${aid} is not self-addressing`);
  if (keys.length !== 1 || (keys[0] as string) !== aid) {
    throw new KelError(
      'KEL_BAD_PREFIX',
      `basic AID ${aid} is not the one key, ${keys.length === 1 ? keys[0] : `of ${keys.length}`}`,
    );
  }
  if (isNonTransferable(aid) && nextDigests.length + witnesses.length + anchors.length > 0) {
    throw new KelError(
      'KEL_BAD_PREFIX',
      `non-transferable AID ${aid} has next keys, witnesses or anchors`,
    );
  }
}
