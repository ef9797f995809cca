/* Dual control in the audit log: on the disk before anybody hears of it. */
#include "base/clock.h"
#include "hsm-service/control/control.h"
#include "hsm-service/front/audit.h"

#include <stdio.h>
#include <string.h>

enum err_code front_audit_control(struct front_audit *audit, const struct control_event *event, struct err *e)
{
    struct audit_record r = {.kind = AUDIT_KEY, .time_ms = clock_wall_ms()};
    audit_text(event->what, strlen(event->what), r.what, sizeof r.what);
    audit_text(event->who, strlen(event->who), r.who, sizeof r.who);
    audit_text(event->label, strlen(event->label), r.key, sizeof r.key);
    audit_text(event->note, strlen(event->note), r.note, sizeof r.note);
    snprintf(r.grade, sizeof r.grade, "%s", event->grade);
    snprintf(r.result, sizeof r.result, "%s", event->failure != NULL ? err_name(event->failure->code) : "OK");
    front_audit_trace(&r, event->trace);
    return front_audit_write(audit, &r, e);
}
