#include "services/emitter/emitter.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &emitter_spec);
}
