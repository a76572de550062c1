"""KERIpy as the counterpart: one request per line of JSON on stdin, one answer per line on stdout.

{"op": "read", "streams": [hex, ...]}                    feeds all streams to one verifier
    answers {"states": [key state, ...]}
{"op": "measure", "stream": hex}                         feeds one stream and takes the time
    answers {"seconds": n, "states": [key state, ...]}
{"op": "write", "seed": text, "logs": n, "kind": "JSON", "recovers": bool}    makes logs with KERIpy's own builders
    answers {"logs": [{"stream": hex, "replay": hex, "state": key state}, ...]}
{"op": "say", "seed": text, "kind": "JSON"}              makes a log, and replies and queries of its controller
    answers {"stream": hex, "state": key state, "endpoint": AID, "replies": [hex, ...], "queries": [hex, ...]}
{"op": "hear", "streams": [hex, ...]}                    feeds logs, replies and queries
    answers {"locations": [[AID, scheme, url], ...], "roles": [[AID, role, AID, allowed], ...],
             "notices": [[AID, source], ...], "answers": [[kind, source, hex], ...]}
"""
import json
import logging
import random
import sys
import time

from keri import help

help.ogler.level = logging.CRITICAL
logging.disable(logging.CRITICAL)

from keri.core import coring, eventing, parsing, routing  # noqa: E402
from keri.db import basing  # noqa: E402

try:  # 1.2 and later
    from keri.core import counting, signing
    from keri.kering import Vrsn_1_0

    Signer = signing.Signer

    def counter(code, count):
        return counting.Counter("-" + code, count=count, gvrsn=Vrsn_1_0).qb64b
except ImportError:
    Signer = coring.Signer

    def counter(code, count):
        return coring.Counter("-" + code, count=count).qb64b


def state_of(kever):
    return {
        "aid": kever.prefixer.qb64,
        "sn": kever.sner.num,
        "said": kever.serder.said,
        "kind": kever.serder.kind,
        "keys": [verfer.qb64 for verfer in kever.verfers],
        "nextDigests": [diger.qb64 for diger in kever.ndigers],
        "signingThreshold": kever.tholder.sith,
        "nextThreshold": kever.ntholder.sith,
        "witnesses": list(kever.wits),
        "witnessThreshold": kever.toader.num,
        "delegator": (kever.delegator if hasattr(kever, "delegator") else kever.delpre) or None,
    }


def feed(kevery, stream, revery=None):
    """A cut message makes the parser spin: stop when nothing is taken any more."""
    ims = bytearray(stream)
    parsator = parsing.Parser(kvy=kevery, rvy=revery).allParsator(ims=ims)
    idle = 0
    while idle < 3:
        before = len(ims)
        try:
            next(parsator)
        except StopIteration:
            return
        idle = idle + 1 if len(ims) == before else 0


def settle(kevery):
    """Escrows advance a log by one event per pass, and move an event from one to the next without advancing it."""
    previous, idle = None, 0
    while idle < 4:
        current = sorted((str(pre), kever.sner.num) for pre, kever in kevery.kevers.items())
        idle = idle + 1 if current == previous else 0
        previous = current
        kevery.processEscrows()


def read(request):
    with basing.openDB(name="read") as db:
        kevery = eventing.Kevery(db=db, lax=True, local=False)
        for stream in request["streams"]:
            feed(kevery, bytes.fromhex(stream))
        settle(kevery)
        return {"states": [state_of(kever) for kever in kevery.kevers.values()]}


class Controller:
    """One AID written by KERIpy."""

    def __init__(self, rng, kind, kevery, delegator=None, recovers=True):
        self.rng = rng
        self.recovers = recovers
        self.kind = kind
        self.kevery = kevery
        self.stream = bytearray()
        self.delegator = delegator
        count = rng.randint(1, 4)
        self.witnesses = [self.signer(False) for _ in range(rng.choice([0, 0, 1, 3]))]
        self.signers = [self.signer() for _ in range(count)]
        self.next = [self.signer() for _ in range(rng.randint(1, 4))]
        self.next_threshold = self.threshold(len(self.next))
        make = eventing.incept if delegator is None else eventing.delcept
        extra = {} if delegator is None else {"delpre": delegator.pre}
        serder = make(
            keys=[signer.verfer.qb64 for signer in self.signers],
            isith=self.threshold(count),
            ndigs=self.digests(),
            nsith=self.next_threshold,
            toad=len(self.witnesses),
            wits=[witness.verfer.qb64 for witness in self.witnesses],
            kind=kind,
            code=coring.MtrDex.Blake3_256,
            **extra,
        )
        self.pre = serder.pre
        self.recent = [serder]
        self.emit(serder, list(range(count)), self.approve(serder))

    def signer(self, transferable=True):
        return Signer(raw=self.rng.randbytes(32), transferable=transferable)

    def threshold(self, count):
        kind = self.rng.choice(["number", "weights", "clauses", "custodial"])
        if kind == "number" or count == 1:
            return f"{self.rng.randint(1, count):x}"
        if kind == "weights":
            return [self.rng.choice(["1/2", "1/2", "2/3", "1"]) for _ in range(count)]
        if kind == "custodial":
            return ["0"] + ["1"] * (count - 1)
        return [["1"], ["1/2"] * (count - 1)] if count > 2 else [["1"], ["1"]]

    def digests(self):
        return [coring.Diger(ser=signer.verfer.qb64b).qb64 for signer in self.next]

    @property
    def kever(self):
        return self.kevery.kevers[self.pre]

    def approve(self, serder):
        """The delegator seals the event; the couple names where."""
        if self.delegator is None:
            return None
        sealed = self.delegator.interact([{"i": serder.pre, "s": serder.ked["s"], "d": serder.said}])
        return coring.Seqner(sn=sealed.sn).qb64 + sealed.said

    def emit(self, serder, indices, couple=None):
        sigers = [
            self.signers[index].sign(serder.raw, index=index, ondex=ondex, only=ondex is None)
            for index, ondex in ((pair if isinstance(pair, tuple) else (pair, pair)) for pair in indices)
        ]
        wigers = [witness.sign(serder.raw, index=i) for i, witness in enumerate(self.witnesses)]
        message = eventing.messagize(serder, sigers=sigers, wigers=wigers or None)
        attachments = bytes(message)[serder.size:]
        if couple is not None:
            attachments += counter("G", 1) + couple.encode()
        if self.rng.random() < 0.5:
            attachments = counter("V", len(attachments) // 4) + attachments
        message = serder.raw + attachments
        self.stream += message
        feed(self.kevery, message)
        settle(self.kevery)

    def interact(self, data=None):
        serder = eventing.interact(pre=self.pre, dig=self.kever.serder.said, sn=self.kever.sner.num + 1,
                                   data=data if data is not None else self.data(), kind=self.kind)
        self.recent.append(serder)
        self.emit(serder, list(range(len(self.signers))))
        return serder

    def data(self):
        digest = coring.Diger(ser=self.rng.randbytes(20)).qb64
        return self.rng.choice([[], [{"d": digest}], [{"rd": digest}], [{"i": self.pre, "s": "0", "d": digest}],
                                ["ünïcode \u2028 \" \\", 7, True, None, {"1": [1, -300, 70000], "a": {}}]])

    def rotate(self):
        """All pre-rotated keys come into force, or as few as the threshold asks for; in any order, maybe with a new one."""
        order = list(range(len(self.next)))
        self.rng.shuffle(order)
        kever = self.kever
        if self.rng.random() < 0.5:
            for place in list(order):
                fewer = [other for other in order if other != place]
                if fewer and kever.ntholder.satisfy(indices=sorted(fewer)):
                    order = fewer
        reserve = [signer for place, signer in enumerate(self.next) if place not in order and self.rng.random() < 0.6]
        added = [self.signer()] if self.rng.random() < 0.4 else []
        self.signers = [self.next[place] for place in order] + added
        self.next = reserve + [self.signer() for _ in range(self.rng.randint(1, 3))]
        cuts = [self.witnesses.pop(0)] if self.witnesses and self.rng.random() < 0.4 else []
        adds = [self.signer(False)] if self.rng.random() < 0.4 else []
        # A rotation may take the place of the interactions behind the event that it follows.
        recovers = self.recovers and self.delegator is None and self.rng.random() < 0.4
        prior = self.rng.choice(self.recent) if recovers else self.recent[-1]
        make = eventing.rotate if self.delegator is None else eventing.deltate
        serder = make(
            pre=self.pre,
            keys=[signer.verfer.qb64 for signer in self.signers],
            dig=prior.said,
            sn=prior.sn + 1,
            isith=self.threshold(len(self.signers)),
            ndigs=self.digests(),
            nsith=self.threshold(len(self.next)),
            toad=len(self.witnesses) + len(adds),
            wits=list(kever.wits),
            cuts=[witness.verfer.qb64 for witness in cuts],
            adds=[witness.verfer.qb64 for witness in adds],
            kind=self.kind,
        )
        self.witnesses += adds
        indices = [(index, place) for index, place in enumerate(order)]
        indices += [(len(order), None)] if added else []
        self.recent = [serder]
        self.emit(serder, indices, self.approve(serder))


def write(request):
    rng = random.Random(request["seed"])
    with basing.openDB(name="write") as db:
        kevery = eventing.Kevery(db=db, lax=True, local=False)
        logs = []
        for _ in range(request["logs"]):
            delegator = rng.choice(logs) if logs and rng.random() < 0.3 else None
            controller = Controller(rng, request["kind"], kevery, delegator, request.get("recovers", True))
            for _ in range(rng.randint(2, 6)):
                rng.choice([controller.interact, controller.rotate])()
            logs.append(controller)
        return {
            "logs": [
                {
                    "stream": bytes(log.stream).hex(),
                    "replay": b"".join(bytes(message) for message in db.clonePreIter(pre=log.pre)).hex(),
                    "state": state_of(log.kever),
                }
                for log in logs
            ]
        }


def measure(request):
    stream = bytes.fromhex(request["stream"])
    with basing.openDB(name="measure") as db:
        kevery = eventing.Kevery(db=db, lax=True, local=False)
        start = time.perf_counter()
        feed(kevery, stream)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "states": [state_of(kever) for kever in kevery.kevers.values()]}


def say(request):
    rng = random.Random(request["seed"])
    kind = request["kind"]
    with basing.openDB(name="say") as db:
        controller = Controller(rng, kind, eventing.Kevery(db=db, lax=True, local=False))
        controller.rotate()
        endpoint = controller.signer(False)
        eid = endpoint.verfer.qb64
        pre = controller.pre
        last = controller.kever.lastEst
        under = eventing.SealEvent(i=pre, s=f"{last.s:x}", d=last.d)

        def signed(serder, seal):
            sigers = [signer.sign(serder.raw, index=index) for index, signer in enumerate(controller.signers)]
            return bytes(eventing.messagize(serder, sigers=sigers, seal=seal, pipelined=rng.random() < 0.5))

        def stamp(second):
            return f"2026-01-01T00:00:{second:02}.000000+00:00"

        def reply(second, route, data):
            return eventing.reply(route=route, data=data, stamp=stamp(second), kind=kind)

        def couple(serder):
            return bytes(eventing.messagize(serder, cigars=[endpoint.sign(serder.raw)]))

        def query(route, extra):
            body = eventing.query(route=route, query=dict(extra, i=pre, src=eid), stamp=stamp(9), kind=kind)
            return signed(body, eventing.SealLast(i=pre))

        role = {"cid": pre, "role": "mailbox", "eid": eid}
        replies = [
            couple(reply(1, "/loc/scheme", {"eid": eid, "scheme": "http", "url": "http://127.0.0.1:5642/"})),
            couple(reply(2, "/loc/scheme", {"eid": eid, "scheme": "http", "url": "http://127.0.0.1:5643/"})),
            signed(reply(1, "/loc/scheme", {"eid": pre, "scheme": "tcp", "url": "tcp://127.0.0.1:5644/"}), under),
            signed(reply(1, "/end/role/add", role), under),
            signed(reply(1, "/end/role/add", dict(role, role="watcher")), under),
            signed(reply(2, "/end/role/cut", dict(role, role="watcher")), under),
            signed(reply(3, f"/ksn/{pre}", controller.kever.state()._asdict()), under),
        ]
        queries = [query("logs", {}), query("logs", {"s": "1"}), query("ksn", {})]
        return {
            "stream": bytes(controller.stream).hex(),
            "state": state_of(controller.kever),
            "endpoint": eid,
            "replies": [message.hex() for message in replies],
            "queries": [message.hex() for message in queries],
        }


def hear(request):
    with basing.openDB(name="hear") as db:
        revery = routing.Revery(db=db, lax=True, local=False)
        kevery = eventing.Kevery(db=db, lax=True, local=False, rvy=revery)
        kevery.registerReplyRoutes(router=revery.rtr)
        for stream in request["streams"]:
            feed(kevery, bytes.fromhex(stream), revery)
            settle(kevery)
        answers = []
        for cue in kevery.cues:
            if cue["kin"] == "replay":
                answers.append(["replay", cue["src"], b"".join(bytes(one) for one in cue["msgs"]).hex()])
            elif cue["kin"] == "reply":
                answers.append(["reply", cue["src"], cue["serder"].raw.hex()])
        return {
            "locations": [[eid, scheme, one.url] for (eid, scheme), one in db.locs.getItemIter()],
            "roles": [[cid, role, eid, one.allowed] for (cid, role, eid), one in db.ends.getItemIter()],
            "notices": [list(keys) for keys, _ in db.knas.getItemIter()],
            "answers": answers,
        }


OPERATIONS = {"read": read, "write": write, "measure": measure, "say": say, "hear": hear}

for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(OPERATIONS[request["op"]](request)), flush=True)
