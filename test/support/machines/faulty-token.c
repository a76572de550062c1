/*
 * A PKCS#11 module that stands in front of another and lies, one lie per process: KELMESH_TEST_MODULE names the other, and
 * KELMESH_TEST_FAULT the lie. Compiled when the tests run. Types are those of PKCS#11 2.40 as far as they are touched.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef unsigned char CK_BYTE;

typedef struct { CK_ULONG type; void *value; CK_ULONG length; } Attribute;
typedef struct { CK_ULONG slot, state, flags, device_error; } SessionInfo;

/* The position of each function in CK_FUNCTION_LIST, behind the version. */
enum {
  GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, CLOSE_SESSION = 13,
  GET_SESSION_INFO = 15, LOGIN = 18, LOGOUT = 19, CREATE_OBJECT = 20, GET_ATTRIBUTE = 24, SIGN_INIT = 42, SIGN = 43,
  GENERATE_KEY_PAIR = 59, FUNCTIONS = 68
};

typedef struct { CK_ULONG version; void *call[FUNCTIONS]; } FunctionList;

static FunctionList *real;
static FunctionList ours;
static const char *fault = "";

enum { DEVICE_ERROR = 0x30, CURVE_NOT_SUPPORTED = 0x140, SESSION_COUNT = 0xb1, FUNCTION_FAILED = 0x6 };
static const CK_ULONG EC_PARAMS = 0x180;
static const CK_ULONG NO_SUCH_SLOT = 0x7fffffff;

static int is(const char *name) { return strcmp(fault, name) == 0; }

/* unreadable-slot: a slot before all others says that it holds a token, and cannot tell which. */
static CK_RV get_slot_list(CK_BYTE present, CK_ULONG *slots, CK_ULONG *count) {
  CK_RV (*call)(CK_BYTE, CK_ULONG *, CK_ULONG *) = real->call[GET_SLOT_LIST];
  if (!is("unreadable-slot")) return call(present, slots, count);
  if (slots == NULL) {
    CK_RV rv = call(present, NULL, count);
    *count += 1;
    return rv;
  }
  CK_ULONG rest = *count - 1;
  CK_RV rv = call(present, slots + 1, &rest);
  slots[0] = NO_SUCH_SLOT;
  *count = rest + 1;
  return rv;
}

static CK_RV get_token_info(CK_ULONG slot, void *info) {
  CK_RV (*call)(CK_ULONG, void *) = real->call[GET_TOKEN_INFO];
  return slot == NO_SUCH_SLOT ? DEVICE_ERROR : call(slot, info);
}

/* one-session: of all that is opened, and none above. */
static int sessions = 0;

static CK_RV open_session(CK_ULONG slot, CK_ULONG flags, void *application, void *notify, CK_ULONG *session) {
  CK_RV (*call)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *) = real->call[OPEN_SESSION];
  if (is("no-session") || (is("one-session") && sessions > 0) || (is("one-session-once-broken") && sessions > 0))
    return SESSION_COUNT;
  CK_RV rv = call(slot, flags, application, notify, session);
  if (rv == 0) sessions += 1;
  return rv;
}

static CK_RV close_session(CK_ULONG session) {
  CK_RV (*call)(CK_ULONG) = real->call[CLOSE_SESSION];
  CK_RV rv = call(session);
  if (rv == 0) sessions -= 1;
  return rv;
}

/* logout, lying-logout: after the third call that works on a key the login is over; the second says that it is not. */
static CK_RV get_session_info(CK_ULONG session, SessionInfo *info) {
  CK_RV (*call)(CK_ULONG, SessionInfo *) = real->call[GET_SESSION_INFO];
  CK_RV rv = call(session, info);
  if (rv == 0 && is("lying-logout")) info->state = 3;
  return rv;
}

static int signatures = 0;

/* one-session-once-broken: the first signature fails, and leaves the session as a real token would: stuck. */
static CK_RV sign(CK_ULONG session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature, CK_ULONG *size) {
  CK_RV (*call)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *) = real->call[SIGN];
  const char *mark = getenv("KELMESH_TEST_MARK");
  if (is("one-session-once-broken") && mark != NULL) {
    FILE *there = fopen(mark, "r");
    if (there == NULL) {
      fclose(fopen(mark, "w"));
      return FUNCTION_FAILED;
    }
    fclose(there);
  }
  CK_RV rv = call(session, data, length, signature, size);
  signatures += 1;
  if ((is("logout") || is("lying-logout")) && signatures == 3)
    ((CK_RV (*)(CK_ULONG))real->call[LOGOUT])(session);
  return rv;
}

/* only-oid, only-name: a curve is known by one form of its name, in keys that are made and in keys that are read. */
static const CK_BYTE ed25519_oid[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
static const CK_BYTE p256_oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const CK_BYTE p256_name[] = {0x13, 0x09, 's', 'e', 'c', 'p', '2', '5', '6', 'r', '1'};

static CK_RV generate_key_pair(CK_ULONG session, void *mechanism, Attribute *public, CK_ULONG public_count,
                               Attribute *private, CK_ULONG private_count, CK_ULONG *public_key, CK_ULONG *private_key) {
  CK_RV (*call)(CK_ULONG, void *, Attribute *, CK_ULONG, Attribute *, CK_ULONG, CK_ULONG *, CK_ULONG *) =
      real->call[GENERATE_KEY_PAIR];
  Attribute changed[32];
  if (public_count > 32) return FUNCTION_FAILED;
  memcpy(changed, public, public_count * sizeof *public);
  for (CK_ULONG i = 0; i < public_count; i++) {
    if (changed[i].type != EC_PARAMS) continue;
    CK_BYTE first = *(CK_BYTE *)changed[i].value;
    if (is("no-curve") || (is("only-oid") && first != 0x06) || (is("only-name") && first != 0x13))
      return CURVE_NOT_SUPPORTED;
    /* SoftHSM takes P-256 by its object identifier alone. */
    if (is("only-name") && changed[i].length == sizeof p256_name &&
        memcmp(changed[i].value, p256_name, sizeof p256_name) == 0) {
      changed[i].value = (void *)p256_oid;
      changed[i].length = sizeof p256_oid;
    }
  }
  return call(session, mechanism, changed, public_count, private, private_count, public_key, private_key);
}

static CK_RV get_attribute(CK_ULONG session, CK_ULONG object, Attribute *list, CK_ULONG count) {
  CK_RV (*call)(CK_ULONG, CK_ULONG, Attribute *, CK_ULONG) = real->call[GET_ATTRIBUTE];
  CK_RV rv = call(session, object, list, count);
  if (rv != 0) return rv;
  for (CK_ULONG i = 0; i < count; i++) {
    Attribute *at = &list[i];
    const CK_BYTE *form = NULL;
    CK_ULONG length = 0;
    if (at->type != EC_PARAMS || at->value == NULL) continue;
    CK_BYTE *has = at->value;
    if (is("only-oid") && has[0] == 0x13) { form = ed25519_oid; length = sizeof ed25519_oid; }
    if (is("only-name") && has[0] == 0x06 && at->length == sizeof p256_oid) { form = p256_name; length = sizeof p256_name; }
    if (form == NULL || length > at->length) continue;
    memcpy(at->value, form, length);
    at->length = length;
  }
  return rv;
}

CK_RV C_GetFunctionList(FunctionList **list) {
  if (real == NULL) {
    const char *path = getenv("KELMESH_TEST_MODULE");
    void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(FunctionList **) = module == NULL ? NULL : dlsym(module, "C_GetFunctionList");
    if (get == NULL || get(&real) != 0) return FUNCTION_FAILED;
    if (getenv("KELMESH_TEST_FAULT") != NULL) fault = getenv("KELMESH_TEST_FAULT");
    memcpy(&ours, real, sizeof ours);
    ours.call[GET_FUNCTION_LIST] = C_GetFunctionList;
    ours.call[GET_SLOT_LIST] = get_slot_list;
    ours.call[GET_TOKEN_INFO] = get_token_info;
    ours.call[OPEN_SESSION] = open_session;
    ours.call[CLOSE_SESSION] = close_session;
    ours.call[GET_SESSION_INFO] = get_session_info;
    ours.call[SIGN] = sign;
    ours.call[GENERATE_KEY_PAIR] = generate_key_pair;
    ours.call[GET_ATTRIBUTE] = get_attribute;
  }
  *list = &ours;
  return 0;
}
