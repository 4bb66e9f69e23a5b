/* Prints how many bytes the link's structs take here: the table of README.md is made from it. */
#include "partpay_link.h"

#include <stdio.h>

int main(void)
{
    printf("pp_terminal %lu\n", (unsigned long)sizeof(pp_terminal));
    printf("pp_kept %lu\n", (unsigned long)sizeof(pp_kept));
    printf("pp_message %lu\n", (unsigned long)sizeof(pp_message));
    return 0;
}
