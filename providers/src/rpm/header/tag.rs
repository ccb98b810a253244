//! Tags of headers, by rpm's own names (rpm, include/rpm/rpmtag.h), and the types that their values
//! have. Only those that something here reads or writes.

use super::Type;

/// The number of a tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u32);

macro_rules! tags {
    ($($name:ident = $number:literal $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("`RPMTAG_", stringify!($name), "`.")]
            pub const $name: Tag = Tag($number);
        )*
        /// The type of the value of a tag, as far as it is known here.
        pub(super) fn expected(tag: Tag) -> Option<Shape> {
            match tag.0 {
                $($number => Some(Shape::$kind),)*
                _ => None,
            }
        }
    };
}

/// What a tag's value may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One string.
    Text,
    /// Strings; one string may be written as such.
    Texts,
    /// A string in several languages, or in one.
    Local,
    /// Bytes.
    Bytes,
    /// Numbers of 16 bits.
    Short,
    /// Numbers of 32 bits.
    Word,
    /// Numbers of 64 bits.
    Long,
    /// A character each.
    Char,
}

impl Shape {
    pub(super) fn holds(self, kind: Type) -> bool {
        match self {
            Self::Text => kind == Type::String,
            // An interpreter without arguments is a string, one with arguments an array.
            Self::Texts => matches!(kind, Type::StringArray | Type::String),
            Self::Local => matches!(kind, Type::I18nString | Type::String | Type::StringArray),
            Self::Bytes => kind == Type::Bin,
            Self::Short => kind == Type::Int16,
            Self::Word => kind == Type::Int32,
            Self::Long => kind == Type::Int64,
            Self::Char => matches!(kind, Type::Char | Type::Int8),
        }
    }
}

tags! {
    HEADERSIGNATURES = 62 Bytes,
    HEADERIMMUTABLE = 63 Bytes,
    HEADERI18NTABLE = 100 Texts,
    SIGSIZE = 257 Word,
    SIGPGP = 259 Bytes,
    SIGMD5 = 261 Bytes,
    SIGGPG = 262 Bytes,
    DSAHEADER = 267 Bytes,
    RSAHEADER = 268 Bytes,
    SHA1HEADER = 269 Text,
    LONGSIGSIZE = 270 Long,
    LONGARCHIVESIZE = 271 Long,
    SHA256HEADER = 273 Text,
    OPENPGP = 278 Texts,
    SHA3_256HEADER = 279 Text,
    NAME = 1000 Text,
    VERSION = 1001 Text,
    RELEASE = 1002 Text,
    EPOCH = 1003 Word,
    SUMMARY = 1004 Local,
    DESCRIPTION = 1005 Local,
    BUILDTIME = 1006 Word,
    BUILDHOST = 1007 Text,
    INSTALLTIME = 1008 Word,
    SIZE = 1009 Word,
    DISTRIBUTION = 1010 Text,
    VENDOR = 1011 Text,
    LICENSE = 1014 Text,
    PACKAGER = 1015 Text,
    GROUP = 1016 Local,
    URL = 1020 Text,
    OS = 1021 Text,
    ARCH = 1022 Text,
    PREIN = 1023 Text,
    POSTIN = 1024 Text,
    PREUN = 1025 Text,
    POSTUN = 1026 Text,
    OLDFILENAMES = 1027 Texts,
    FILESIZES = 1028 Word,
    FILESTATES = 1029 Char,
    FILEMODES = 1030 Short,
    FILERDEVS = 1033 Short,
    FILEMTIMES = 1034 Word,
    FILEDIGESTS = 1035 Texts,
    FILELINKTOS = 1036 Texts,
    FILEFLAGS = 1037 Word,
    FILEUSERNAME = 1039 Texts,
    FILEGROUPNAME = 1040 Texts,
    SOURCERPM = 1044 Text,
    FILEVERIFYFLAGS = 1045 Word,
    ARCHIVESIZE = 1046 Word,
    PROVIDENAME = 1047 Texts,
    REQUIREFLAGS = 1048 Word,
    REQUIRENAME = 1049 Texts,
    REQUIREVERSION = 1050 Texts,
    CONFLICTFLAGS = 1053 Word,
    CONFLICTNAME = 1054 Texts,
    CONFLICTVERSION = 1055 Texts,
    RPMVERSION = 1064 Text,
    TRIGGERSCRIPTS = 1065 Texts,
    TRIGGERNAME = 1066 Texts,
    TRIGGERVERSION = 1067 Texts,
    TRIGGERFLAGS = 1068 Word,
    TRIGGERINDEX = 1069 Word,
    VERIFYSCRIPT = 1079 Text,
    PREINPROG = 1085 Texts,
    POSTINPROG = 1086 Texts,
    PREUNPROG = 1087 Texts,
    POSTUNPROG = 1088 Texts,
    OBSOLETENAME = 1090 Texts,
    VERIFYSCRIPTPROG = 1091 Texts,
    TRIGGERSCRIPTPROG = 1092 Texts,
    FILEDEVICES = 1095 Word,
    FILEINODES = 1096 Word,
    FILELANGS = 1097 Texts,
    SOURCEPACKAGE = 1106 Word,
    PROVIDEFLAGS = 1112 Word,
    PROVIDEVERSION = 1113 Texts,
    OBSOLETEFLAGS = 1114 Word,
    OBSOLETEVERSION = 1115 Texts,
    DIRINDEXES = 1116 Word,
    BASENAMES = 1117 Texts,
    DIRNAMES = 1118 Texts,
    PAYLOADFORMAT = 1124 Text,
    PAYLOADCOMPRESSOR = 1125 Text,
    PAYLOADFLAGS = 1126 Text,
    INSTALLCOLOR = 1127 Word,
    INSTALLTID = 1128 Word,
    FILECOLORS = 1140 Word,
    PRETRANS = 1151 Text,
    POSTTRANS = 1152 Text,
    PRETRANSPROG = 1153 Texts,
    POSTTRANSPROG = 1154 Texts,
    LONGFILESIZES = 5008 Long,
    LONGSIZE = 5009 Long,
    FILECAPS = 5010 Texts,
    FILEDIGESTALGO = 5011 Word,
    PREINFLAGS = 5020 Word,
    POSTINFLAGS = 5021 Word,
    PREUNFLAGS = 5022 Word,
    POSTUNFLAGS = 5023 Word,
    PRETRANSFLAGS = 5024 Word,
    POSTTRANSFLAGS = 5025 Word,
    VERIFYSCRIPTFLAGS = 5026 Word,
    TRIGGERSCRIPTFLAGS = 5027 Word,
    ORDERNAME = 5035 Texts,
    ORDERVERSION = 5036 Texts,
    ORDERFLAGS = 5037 Word,
    RECOMMENDNAME = 5046 Texts,
    RECOMMENDVERSION = 5047 Texts,
    RECOMMENDFLAGS = 5048 Word,
    SUGGESTNAME = 5049 Texts,
    SUGGESTVERSION = 5050 Texts,
    SUGGESTFLAGS = 5051 Word,
    SUPPLEMENTNAME = 5052 Texts,
    SUPPLEMENTVERSION = 5053 Texts,
    SUPPLEMENTFLAGS = 5054 Word,
    ENHANCENAME = 5055 Texts,
    ENHANCEVERSION = 5056 Texts,
    ENHANCEFLAGS = 5057 Word,
    ENCODING = 5062 Text,
    FILETRIGGERSCRIPTS = 5066 Texts,
    FILETRIGGERSCRIPTPROG = 5067 Texts,
    FILETRIGGERSCRIPTFLAGS = 5068 Word,
    FILETRIGGERNAME = 5069 Texts,
    FILETRIGGERINDEX = 5070 Word,
    FILETRIGGERVERSION = 5071 Texts,
    FILETRIGGERFLAGS = 5072 Word,
    TRANSFILETRIGGERSCRIPTS = 5076 Texts,
    TRANSFILETRIGGERSCRIPTPROG = 5077 Texts,
    TRANSFILETRIGGERSCRIPTFLAGS = 5078 Word,
    TRANSFILETRIGGERNAME = 5079 Texts,
    TRANSFILETRIGGERINDEX = 5080 Word,
    TRANSFILETRIGGERVERSION = 5081 Texts,
    TRANSFILETRIGGERFLAGS = 5082 Word,
    FILETRIGGERPRIORITIES = 5084 Word,
    TRANSFILETRIGGERPRIORITIES = 5085 Word,
    PAYLOADSHA256 = 5092 Texts,
    PAYLOADSHA256ALGO = 5093 Word,
    PAYLOADSHA256ALT = 5097 Texts,
    MODULARITYLABEL = 5096 Text,
    PREUNTRANS = 5103 Text,
    POSTUNTRANS = 5104 Text,
    PREUNTRANSPROG = 5105 Texts,
    POSTUNTRANSPROG = 5106 Texts,
    PREUNTRANSFLAGS = 5107 Word,
    POSTUNTRANSFLAGS = 5108 Word,
    SYSUSERS = 5109 Texts,
    PAYLOADSIZE = 5112 Long,
    PAYLOADSIZEALT = 5113 Long,
    RPMFORMAT = 5114 Word,
    PAYLOADSHA512 = 5121 Text,
    PAYLOADSHA512ALT = 5122 Text,
    PAYLOADSHA3_256 = 5123 Text,
    PAYLOADSHA3_256ALT = 5124 Text,
}

/// Tags of the signature header, which numbers some things differently there
/// (rpm, include/rpm/rpmtag.h, `rpmSigTag_e`).
pub mod signature {
    use super::Tag;

    /// Size of header and payload, in bytes.
    pub const SIZE: Tag = Tag(1000);
    /// OpenPGP signature (RSA) over header and payload.
    pub const PGP: Tag = Tag(1002);
    /// MD5 of header and payload.
    pub const MD5: Tag = Tag(1004);
    /// OpenPGP signature (DSA or EdDSA) over header and payload.
    pub const GPG: Tag = Tag(1005);
    /// Size of the payload unpacked, in bytes.
    pub const PAYLOADSIZE: Tag = Tag(1007);
    /// Room for signatures to come.
    pub const RESERVEDSPACE: Tag = Tag(1008);
    /// Room for signatures to come, in packages of format 6.
    pub const RESERVED: Tag = Tag(999);

    /// The type of a value in the signature header.
    pub(in super::super) fn expected(tag: Tag) -> Option<super::Shape> {
        match tag {
            SIZE | PAYLOADSIZE => Some(super::Shape::Word),
            PGP | MD5 | GPG | RESERVEDSPACE | RESERVED => Some(super::Shape::Bytes),
            Tag(number) if number < 999 => super::expected(tag),
            _ => None,
        }
    }
}
