//! Words both consoles use, in both languages side by side. Those of one console only stand beside its pages.

/// Makes a type of texts with its English and its Chinese value: a text without its other half does not compile.
macro_rules! words {
    ($name:ident; $($key:ident: $en:literal, $zh:literal;)*) => {
        /// Texts of one language.
        pub struct $name {
            $(pub $key: &'static str,)*
        }

        static EN: $name = $name { $($key: $en,)* };
        static ZH: $name = $name { $($key: $zh,)* };

        impl $name {
            /// Returns the texts of a language.
            pub fn of(lang: crate::domain::Lang) -> &'static $name {
                match lang {
                    crate::domain::Lang::En => &EN,
                    crate::domain::Lang::Zh => &ZH,
                }
            }
        }

        #[cfg(test)]
        #[test]
        fn both_halves_say_something_and_have_the_same_places_to_fill() {
            for (name, en, zh) in [$((stringify!($key), $en, $zh),)*] {
                assert!(!en.is_empty() && !zh.is_empty(), "{name}");
                assert_eq!(en.matches("{}").count(), zh.matches("{}").count(), "{name}");
            }
        }
    };
}
pub(crate) use words;

words! {
    Words;
    to_shop: "Shop", "商城";
    sections: "Sections of the console", "控制台栏目";
    pages_here: "Pages of this section", "本栏目页面";
    away: "Not available now", "暂不可用";
    away_text: "The service that knows this does not answer. Everything else on the page is up to date.",
        "提供此信息的服务没有响应，页面其余内容均为最新。";
    refused_panel: "Not for your account", "您的账户无权查看";
    refused_panel_text: "The policies do not let your account see this part.", "根据权限策略，您的账户不能查看此部分。";
    as_table: "The same numbers as a table", "以表格显示";
    hatched: "hatched: given back", "斜线：退款";
    show: "Show", "显示";
    clear: "Clear", "清除";
    any: "Any", "不限";
    none: "none", "无";
    when: "When", "时间";
    who: "Who", "操作者";
    what: "What", "内容";
    why: "Reason", "原因";
    status: "Status", "状态";
    amount: "Amount", "金额";
    units: "Units", "件数";
    details: "Details", "详情";
    saved: "Saved.", "已保存。";
    order: "Order", "订单";
    orders: "Orders", "订单";
    product: "Product", "商品";
    quantity: "Quantity", "数量";
    of_left: "of {}", "共 {}";
    carrier: "Carrier", "承运商";
    tracking_number: "Tracking number", "运单号";
    ship: "Ship", "发货";
    ship_text: "Ship these units. A line left at 0 stays to be shipped.", "填写本次发货的件数，留 0 的商品稍后再发。";
    shipped_done: "Shipped.", "已发货。";
    nothing_to_ship: "Say how many of at least one line go out.", "请至少填写一种商品的发货件数。";
    date: "Day", "日期";
    revenue: "Sales", "销售额";
    given_back: "Given back", "退款";
    total: "Total", "合计";

    confirm_title: "Your password, please", "请输入密码";
    confirm_text: "This changes who may do what, or cannot be taken back. Enter your password once more; nothing you typed is lost, and you are not asked again for five minutes.",
        "此操作涉及权限或无法撤销，请再次输入密码。已填写的内容不会丢失，五分钟内无需再次输入。";
    confirm_go: "Go on", "继续";
    password_wrong: "The password is not right.", "密码不正确。";
    password_too_often: "Too many wrong passwords. Wait a while.", "密码错误次数过多，请稍后再试。";

    field_required: "This is needed.", "请填写此项。";
    field_text: "This is too long or has signs that do not belong here or cannot be seen. Type it anew.", "内容过长，或含有不允许或不可见的字符，请重新输入。";
    field_bad: "This cannot be right.", "内容有误。";
    changed: "It was changed after you opened this page, perhaps by you in another tab or by this very form. Nothing was saved this time.",
        "打开页面后内容已被修改（可能是您在另一个标签页中的操作，或此表单已提交过），本次未保存。";
    look_again: "Look again", "重新载入";
    currency: "Currency", "币种";
    changed_reload: "Load it as it is now", "载入最新内容";
    changed_now: "Somebody else changed it at the same moment. Try once more.", "内容刚被他人修改，请重试。";
    not_in_this_state: "That is not possible in the present state. This is how it stands now.", "当前状态下无法执行，以下为最新状态。";
    key_used: "This form was used for something else. Load the page again.", "此表单已用于其他操作，请重新打开页面。";
    refused: "A rule of the mall says no. Nothing was changed.", "商城规则不允许此操作，未作任何更改。";
    too_many: "Too many at once. Wait a moment and try again.", "请求过于频繁，请稍后再试。";
    gone: "It is no longer there.", "该内容已不存在。";
    unknown_outcome: "The service did not answer, so we do not know whether it was done. Press the button again: the same form never counts twice.",
        "服务没有响应，无法确认是否完成。请再次点击按钮：同一表单不会重复生效。";
    refund_too_much: "More than can still be given back.", "超出可退金额。";
    refund_failed: "The bank refused the refund.", "银行拒绝了退款。";
    amount_bad: "An amount above zero in the order's currency, such as 12.50.", "请填写大于零的金额，例如 12.50。";
    return_too_much: "More units than were sold.", "件数超出已售数量。";
    quantity_bad: "A whole number of units that are there to send.", "请填写不超过待发件数的整数。";
    title_bad: "1 to 200 characters.", "1 至 200 个字符。";
    description_bad: "At most 20,000 characters.", "最多 20,000 个字符。";
    price_bad: "A price above zero, such as 12.50.", "请填写大于零的价格，例如 12.50。";
    stock_bad: "A whole number of units from 0.", "请填写不小于 0 的整数。";
    variants_bad: "At least one variant with a price, at most 100.", "至少一个带价格的规格，最多 100 个。";
    variants_alike: "Two variants have the same options.", "有两个规格的选项相同。";
    option_missing: "Every variant needs a value for every option.", "每个规格都要填写所有选项。";
    option_bad: "Each option needs a name of its own.", "每个选项都要有不同的名称。";
    pictures_full: "At most 20 pictures.", "最多 20 张图片。";
    picture_large: "A picture has at most 2 MiB.", "图片最大 2 MiB。";
    picture_bad: "PNG, JPEG or WebP, at most 4,000 pixels on a side.", "仅支持 PNG、JPEG 或 WebP，边长不超过 4,000 像素。";
    pictures_empty: "A product that had pictures keeps at least one.", "至少保留一张图片。";
    picture_none: "Choose a picture.", "请选择图片。";
    below_reserved: "Fewer would be left than shoppers hold already.", "剩余数量不得少于已被下单占用的数量。";
    delta_bad: "A whole number, not 0: 12 adds, -3 takes away.", "请填写非 0 的整数：12 表示增加，-3 表示减少。";
    ban_over: "The ban must end in the future.", "封禁截止时间必须晚于现在。";
    time_bad: "A time such as 2026-12-31 18:00 (UTC).", "请填写时间，例如 2026-12-31 18:00（UTC）。";
    role_unknown: "There is no such role. Make it first.", "没有该角色，请先创建。";
    role_bad: "Lower-case letters, digits and _ - only; of one seller only: name@sel_….", "仅限小写字母、数字与 _ -；仅限某商家：name@sel_…。";
    role_cycle: "The role would inherit itself.", "角色不能继承自身。";
    role_in_use: "Somebody or something uses the role still.", "该角色仍在使用中。";
    role_built_in: "This role always exists.", "系统内置角色不可删除。";
    roles_empty: "At least one role.", "至少一个角色。";
    last_admin: "The mall needs an operator who can sign in. Make another one first.", "商城至少需要一名可登录的运营人员，请先添加。";
    would_lock_out: "After this nobody could change the policies back. Keep a way in.", "此更改会让所有人都无法再修改策略，请保留入口。";
    admin_only: "Only somebody with role admin may do this.", "仅 admin 角色可执行此操作。";
    policy_bad: "The rule is not valid: look at role, path and verbs.", "规则无效，请检查角色、路径与方法。";
    path_bad: "A path such as /store/v1/*, with verbs in front where not all are meant, one on a line.", "每行一个路径，例如 /store/v1/*，可在前面注明方法。";
    list_full: "The list is full. Delete something first.", "列表已满，请先删除。";
    keys_full: "Too many keys are in use. Wait until the tokens of old ones have expired.", "密钥过多，请等待旧令牌过期。";
    no_handler: "The service no longer handles this kind of event.", "该服务已不再处理此类事件。";
}
