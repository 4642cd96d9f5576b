/* provisor-auditor: history, the audit stream, and answers about the past. */
#include "services/auditor/auditor.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &auditor_spec);
}
