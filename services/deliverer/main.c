/* provisor-deliverer: takes matched events into custody and POSTs each to its handlers, in order
 * per object, until they have it. See deliverer.h. */
#include "services/deliverer/deliverer.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &deliverer_spec);
}
